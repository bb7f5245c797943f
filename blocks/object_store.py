"""The landing bucket and its queues as one Prefect block.

prefect-aws takes longer to import than a run with nothing to do may last, so it is imported only
where it earns that: for a flow of your own that wants an `S3Bucket`. Listing and loading use the
loader's own client, which knows versions and sorts errors into permanent and transient; so does
invoking the function, since prefect-aws's `LambdaFunction` knows neither endpoints nor time-outs.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
)
from pydantic import Field, PrivateAttr, SecretStr

from blocks.errors import FloeError, PermanentError, ServiceUnavailable
from blocks.strict_block import StrictBlock
from lambda_csv_loader.object_store import Bucket, ObjectRef, client
from lambda_csv_loader.queues import QueueDepths, Queues
from lambda_csv_loader.settings import ObjectStoreSettings, load_settings

if TYPE_CHECKING:
    from prefect_aws import AwsCredentials, S3Bucket

    from lambda_csv_loader.dead_letters import DeadLetters
    from lambda_csv_loader.load import Loader


FUNCTION_SECONDS = 900
"""The longest that a Lambda function may run."""


class LandingBucket(StrictBlock):
    """The bucket that files land in, the queue of its events, and what loads a file."""

    _block_type_name = "Floe Landing Bucket"
    _block_type_slug = "floe-landing-bucket"
    _description = "The bucket that CSV files land in, with the queue of its events."

    bucket: str = Field(description="with `landing/` and `quarantine/`")
    queue_url: str = Field(description="of the queue that gets ObjectCreated events")
    dead_letter_queue_url: str = Field(description="of the queue for messages that failed too often")
    region: str = "eu-central-1"
    endpoint_url: str | None = Field(None, description="only for a stand-in; None means AWS")
    access_key_id: str | None = Field(None, description="None means the host's own role")
    secret_access_key: SecretStr | None = Field(None, description="of that key")
    function_name: str | None = Field(
        None, description="the Lambda function that loads files; None loads them in the flow's process"
    )

    _queues: Any = PrivateAttr(None)
    _loader: Any = PrivateAttr(None)
    _function: Any = PrivateAttr(None)

    def files(self, prefix: str) -> list[ObjectRef]:
        """Return the objects under `prefix`, without folder markers, in key order.

        Raises:
            StoreUnavailable: the object store does not answer.
        """
        return [ref for ref in Bucket(self._settings()).list(prefix) if not ref.key.endswith("/")]

    def url(self, key: str) -> str:
        """Return where a person looks at an object: the AWS console, or the stand-in itself."""
        if self.endpoint_url is not None:
            return f"{self.endpoint_url}/{self.bucket}/{quote(key)}"
        return (
            f"https://{self.region}.console.aws.amazon.com/s3/object/{self.bucket}"
            f"?region={self.region}&prefix={quote(key, safe='')}"
        )

    def write(self, key: str, body: bytes, content_type: str) -> None:
        """Put an object; what stands there is replaced.

        Raises:
            StoreUnavailable: the object store does not answer.
        """
        Bucket(self._settings()).put(key, body, content_type)

    def depths(self) -> QueueDepths:
        """Return how many messages wait in the queue and in the dead-letter queue.

        Raises:
            QueueUnavailable: SQS does not answer.
            QueueRefused: the role may not count the messages.
        """
        return self._opened_queues().depths()

    def dead_letters(self) -> DeadLetters:
        """Return how many dead letters there are of each dataset; they stay where they are.

        Raises:
            QueueUnavailable: SQS does not answer, or somebody else has some of them in hand.
            QueueRefused: the role may not count them.
        """
        from lambda_csv_loader.dead_letters import dead_letters

        return dead_letters(self._opened_queues(), self.bucket, self.loader().contracts.names())

    def load_files(
        self, refs: Sequence[ObjectRef], request_id: str, *, again: bool = False
    ) -> dict[str, FloeError]:
        """Load files, by the Lambda function or in this process.

        Args:
            refs: which.
            request_id: goes into the ledger (in-process only; Lambda has one of its own).
            again: also what the ledger has settled; always in this process, as no event can ask for it.

        Returns:
            For each key that could not be loaded, why; the ledger tells what became of the others. The
            error is transient where trying again may help and no function can be at work on the file.
        """
        if self.function_name is not None and not again:
            return self._invoke(refs)
        outcomes = self.loader().load_many(refs, force=again, request_id=request_id)
        return {ref.key: outcome for ref, outcome in outcomes.items() if isinstance(outcome, FloeError)}

    def loader(self) -> Loader:
        """Return the loader of this process: this bucket, and warehouse and contracts of the settings.

        Raises:
            BadSettings: a `FLOE_WAREHOUSE__...` variable is missing.
        """
        from lambda_csv_loader.load import Loader

        if self._loader is None:
            settings = load_settings()
            self._loader = Loader.from_settings(
                settings.model_copy(update={"object_store": self._settings()})
            )
        loader: Loader = self._loader
        return loader

    def close(self) -> None:
        """Give the loader's connection back."""
        if self._loader is not None:
            self._loader.close()
            self._loader = None

    def credentials(self) -> AwsCredentials:
        """Return these credentials as prefect-aws knows them."""
        from prefect_aws import AwsClientParameters, AwsCredentials

        return AwsCredentials(
            region_name=self.region,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            aws_client_parameters=AwsClientParameters(endpoint_url=self.endpoint_url),
        )

    def s3_bucket(self, folder: str = "") -> S3Bucket:
        """Return the bucket as a prefect-aws `S3Bucket`."""
        from prefect_aws import S3Bucket

        return S3Bucket(bucket_name=self.bucket, credentials=self.credentials(), bucket_folder=folder)

    def _opened_queues(self) -> Queues:
        if self._queues is None:
            self._queues = Queues(self._settings())
        queues: Queues = self._queues
        return queues

    def _invoke(self, refs: Sequence[ObjectRef]) -> dict[str, FloeError]:
        if self._function is None:
            # Never sent twice by itself: the first may still run, and each costs its time. The answer
            # comes when the function ends, at most 15 minutes later.
            self._function = client(
                self._settings(), "lambda", read_timeout=FUNCTION_SECONDS + 10, attempts=1
            )
        payload = json.dumps({"Records": [_record(ref) for ref in refs]})
        try:
            answer = self._function.invoke(FunctionName=self.function_name, Payload=payload)
            said = json.load(answer["Payload"]) or {}
        except ClientError as error:
            return self._all_failed(refs, _refusal(error))
        except (EndpointConnectionError, ConnectTimeoutError) as error:
            return self._all_failed(refs, ServiceUnavailable(f"cannot be reached: {type(error).__name__}"))
        except (BotoCoreError, HTTPClientError, ValueError) as error:
            return self._all_failed(refs, PermanentError(f"does not answer: {type(error).__name__}"))
        if "FunctionError" in answer:
            how = f"failed: {said.get('errorType')}: {said.get('errorMessage')}"
            return self._all_failed(refs, PermanentError(how))
        failed = {failure["itemIdentifier"] for failure in said.get("batchItemFailures", [])}
        why = PermanentError("the function could not load it")
        return {ref.key: why for ref in refs if ref.file_id in failed}

    def _all_failed(self, refs: Sequence[ObjectRef], how: FloeError) -> dict[str, FloeError]:
        why = type(how)(f"the function {self.function_name} {how.what}")
        return {ref.key: why for ref in refs}

    def _settings(self) -> ObjectStoreSettings:
        return ObjectStoreSettings(**self.model_dump(include=set(ObjectStoreSettings.model_fields)))


def _refusal(error: ClientError) -> FloeError:
    """Return what an answer of Lambda's own means: the function was not run."""
    code = error.response.get("Error", {}).get("Code", "an error without a code")
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    passes = status == 429 or status >= 500
    return (ServiceUnavailable if passes else PermanentError)(f"answered {code}")


def _record(ref: ObjectRef) -> dict[str, Any]:
    """Return an SQS record with an S3 notification in it, as the function expects.

    https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
    """
    notification = {
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": ref.bucket}, "object": {"key": quote_plus(ref.key, safe="/")}},
    }
    return {
        "messageId": ref.file_id,
        "eventSource": "aws:sqs",
        "body": json.dumps({"Records": [notification]}),
        "attributes": {},
        "messageAttributes": {},
    }
