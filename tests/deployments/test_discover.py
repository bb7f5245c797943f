import pytest
from pathlib import Path
from deployments.discover import discover
from deployments.discovery.address import Address
def test_try(cluster, monkeypatch):
    db=cluster.create_database("nasty")
    with cluster.connect(db) as c:
        c.execute(Path(__file__).with_name("nasty_database.sql").read_bytes())
        c.execute("create role lodger login password 'lodger'; grant usage on schema hr,\"HR\",\"Sales Data\" to lodger; grant select on all tables in schema public,hr,\"HR\",\"Sales Data\" to lodger; revoke select on salaries from lodger")
        c.execute("analyze")
    import time
    t=time.time()
    d = discover(Address.parse(f"postgresql://lodger:lodger@127.0.0.1:{cluster.port}/{db}"))
    print(d.text, time.time()-t)
    from deployments.discovery.table import discovery_table
    from deployments.terminal import console
    console.print(discovery_table(d.proposal))
    assert 0
