"""The sample company: TPC-DS in three PostgreSQL databases and a bucket, and the days that follow."""
