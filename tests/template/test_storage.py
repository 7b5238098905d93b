"""Tables, queues and buckets: shape, safety, whose key, and what outlives the stack."""

import msgspec
import pytest

from chatcore.domain import lease
from chatcore.domain.calendar import LANES
from chatcore.domain.lanes import RETURNS, Lane
from chatcore.protocol.queue import Job
from deploy.template import RESOURCES, of_type, properties

TABLES = of_type("AWS::DynamoDB::Table")

# Table → hash key, range key, whether its items expire.
SHAPES = {
    "ChatsTable": ("user_id", "chat_id", False),
    "MessagesTable": ("chat_id", "seq", False),
    "SummariesTable": ("chat_id", "summary_id", False),
    "RunsTable": ("run_id", None, True),
    "CheckpointsTable": ("run_id", "part", True),
    "LedgersTable": ("user_id", None, False),
    "UsageTable": ("user_id", "day", True),
    "CalendarsTable": ("tier", None, False),
    "WorkersTable": ("worker_id", None, True),
    "TicketsTable": ("ticket_hash", None, True),
}
# What users wrote, whole or in part. Queues are not among them: docs/adr/0018-keys.md says why.
WORDS = {
    "ChatsTable",
    "MessagesTable",
    "SummariesTable",
    "RunsTable",
    "CheckpointsTable",
    "ExportsBucket",
}
WITHOUT_WORDS = {
    "LedgersTable",
    "UsageTable",
    "CalendarsTable",
    "WorkersTable",
    "TicketsTable",
    "PageBucket",
}
BY_A_KEY_OF_AWS = {"SSEEnabled": False}
BY_OUR_KEY = {
    "Fn::If": [
        "HasDataKey",
        {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": {"Fn::GetAtt": "DataKey.Arn"}},
        BY_A_KEY_OF_AWS,
    ]
}
FILES_BY_S3 = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
FILES_BY_OUR_KEY = {
    "Fn::If": [
        "HasDataKey",
        {
            "BucketKeyEnabled": True,
            "ServerSideEncryptionByDefault": {
                "SSEAlgorithm": "aws:kms",
                "KMSMasterKeyID": {"Fn::GetAtt": "DataKey.Arn"},
            },
        },
        FILES_BY_S3,
    ]
}
NUMBERS = {"seq", "last_active_ms"}


@pytest.mark.parametrize("table", sorted(SHAPES))
def test_table_has_its_keys_and_expiry(table: str) -> None:
    found = properties(table)
    keys = {key["KeyType"]: key["AttributeName"] for key in found["KeySchema"]}
    hash_key, range_key, expires = SHAPES[table]
    assert (keys["HASH"], keys.get("RANGE")) == (hash_key, range_key)
    for attribute in found["AttributeDefinitions"]:
        expected = "N" if attribute["AttributeName"] in NUMBERS else "S"
        assert attribute["AttributeType"] == expected
    expiry = {"AttributeName": "expires_at", "Enabled": True} if expires else None
    assert found.get("TimeToLiveSpecification") == expiry


def test_tables_are_those_of_the_design() -> None:
    assert set(TABLES) == set(SHAPES)


def test_chats_are_listed_by_activity() -> None:
    (index,) = properties("ChatsTable")["LocalSecondaryIndexes"]
    assert index["IndexName"] == "by_activity"
    assert [key["AttributeName"] for key in index["KeySchema"]] == ["user_id", "last_active_ms"]
    assert index["Projection"] == {"ProjectionType": "ALL"}


@pytest.mark.parametrize("table", sorted(SHAPES))
def test_table_is_on_demand_encrypted_and_restorable(table: str) -> None:
    found = properties(table)
    assert found["BillingMode"] == "PAY_PER_REQUEST"
    assert found["SSESpecification"] == (BY_OUR_KEY if table in WORDS else BY_A_KEY_OF_AWS)
    assert found["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


def test_what_does_not_expire_outlives_the_stack_and_so_do_bills() -> None:
    for name, (_, _, expires) in SHAPES.items():
        goes = expires and name != "UsageTable"
        assert TABLES[name]["DeletionPolicy"] == ("Delete" if goes else "RetainExceptOnCreate")
        assert TABLES[name]["UpdateReplacePolicy"] == ("Delete" if goes else "Retain")
    (pool,) = of_type("AWS::Cognito::UserPool").values()
    assert pool["DeletionPolicy"] == "RetainExceptOnCreate"


def _logical_id(lane: Lane) -> str:
    index = "Returns" if lane.index == RETURNS else str(lane.index)
    return f"Lane{lane.tier.capitalize()}{index}"


@pytest.mark.parametrize("place", LANES, ids=str)
def test_every_lane_is_a_queue(place: Lane) -> None:
    lane = properties(_logical_id(place))
    assert lane["QueueName"] == {"Fn::Sub": f"${{AWS::StackName}}-lane-{place}"}
    assert lane["VisibilityTimeout"] == lease.HIDDEN_S
    assert lane["MessageRetentionPeriod"] == 4 * 24 * 3600
    assert lane["RedrivePolicy"] == {
        "deadLetterTargetArn": {"Fn::GetAtt": "DeadLetterQueue.Arn"},
        "maxReceiveCount": 1000,
    }


@pytest.mark.parametrize("bucket", sorted(of_type("AWS::S3::Bucket")))
def test_bucket_is_encrypted_by_our_key_where_it_holds_words(bucket: str) -> None:
    (rule,) = properties(bucket)["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule == (FILES_BY_OUR_KEY if bucket in WORDS else FILES_BY_S3)


def test_of_every_store_it_is_said_whether_it_holds_words() -> None:
    stores = {*TABLES, *of_type("AWS::S3::Bucket")}
    assert stores == WORDS | WITHOUT_WORDS
    assert not WORDS & WITHOUT_WORDS
    # Whatever else keeps things is none of this stack's: who adds it says here by whose key.
    services = {body["Type"].split("::")[1] for body in RESOURCES.values()}
    assert not services & {"EFS", "ElastiCache", "FSx", "Kinesis", "OpenSearchService", "RDS"}


def test_queues_are_the_lanes_and_the_dead_letters_all_encrypted() -> None:
    queues = of_type("AWS::SQS::Queue")
    assert set(queues) == {*map(_logical_id, LANES), "DeadLetterQueue"}
    assert all(queue["Properties"]["SqsManagedSseEnabled"] is True for queue in queues.values())


def test_what_waits_in_a_lane_is_ids_and_numbers() -> None:
    """Which SQS's own key is enough for. A field that is added has to be one of them."""
    assert {field.name for field in msgspec.structs.fields(Job)} == {
        *("run_id", "chat_id", "user_id", "summary_id", "trace_id", "trace_parent", "task_token"),
        *("tier", "kind", "favourite", "v"),
        *("message_seq", "prior_seq", "prefix_tokens", "created_ms", "offered_ms"),
    }


def test_dead_letters_are_kept_longer_than_the_lanes_messages() -> None:
    kept_s = properties("DeadLetterQueue")["MessageRetentionPeriod"]
    assert kept_s > properties("LaneFree0")["MessageRetentionPeriod"]
