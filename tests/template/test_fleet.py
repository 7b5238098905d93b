"""The GPU fleet, which cannot be deployed from here: what is written in its template."""

import json
import os
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from chatcore.domain.scaling import Goals
from chatcore.domain.tiers import DEFAULTS, Tier
from deploy.template import ROOT, TEMPLATE, properties, read, references
from gpu_service.worker.measures import BACKLOGS, SERVICE, SLOTS, TELL_EVERY_S
from gpu_service.worker.worker import FAREWELL_S
from local import worker
from local.ministack import aws_environment
from local.ports import Ports

FLEET = read("gpu_service/template.yaml")
RESOURCES: Mapping[str, Mapping[str, Any]] = FLEET["Resources"]
SUBNETS = [{"Ref": f"Subnet{letter}"} for letter in "ABC"]
SPOT_NOTICE_S = 120


def of_type(resource_type: str) -> dict[str, Mapping[str, Any]]:
    """Properties by logical id. Never empty."""
    found = {
        name: body.get("Properties", {})
        for name, body in RESOURCES.items()
        if body["Type"] == resource_type
    }
    assert found, resource_type
    return found


def only(resource_type: str) -> Mapping[str, Any]:
    (found,) = of_type(resource_type).values()
    return found


def containers() -> dict[str, Mapping[str, Any]]:
    return {each["Name"]: each for each in only("AWS::ECS::TaskDefinition")["ContainerDefinitions"]}


def environment(container: str) -> dict[str, Any]:
    return {each["Name"]: each["Value"] for each in containers()[container]["Environment"]}


class TestInTheStack:
    NESTED = properties("GpuFleetStack")

    def test_it_is_there_only_when_asked_for(self) -> None:
        assert TEMPLATE["Resources"]["GpuFleetStack"]["Condition"] == "HasGpuFleet"
        assert TEMPLATE["Conditions"]["HasGpuFleet"] == {"Fn::Equals": [{"Ref": "GpuFleet"}, "yes"]}
        assert TEMPLATE["Parameters"]["GpuFleet"]["Default"] == "none"

    def test_it_is_told_what_it_needs_and_knows_what_it_is_told(self) -> None:
        told = set(self.NESTED["Parameters"])
        assert told <= set(FLEET["Parameters"])
        needed = {name for name, each in FLEET["Parameters"].items() if "Default" not in each}
        assert needed <= told

    def test_what_operators_say_has_one_default(self) -> None:
        own = {
            name: value["Ref"]
            for name, value in self.NESTED["Parameters"].items()
            if value.get("Ref") in TEMPLATE["Parameters"]
        }
        assert {"MinWorkers", "PeakBegin", "WorkerImage"} <= set(own)
        for name, parameter in own.items():
            assert name == parameter
            if "Default" in FLEET["Parameters"][name]:
                assert (
                    TEMPLATE["Parameters"][name]["Default"] == FLEET["Parameters"][name]["Default"]
                )

    def test_what_it_is_told_of_the_stack_is_what_the_outputs_tell(self) -> None:
        # So that a second fleet beside it can be given the outputs.
        told = {
            name: value
            for name, value in self.NESTED["Parameters"].items()
            if value.get("Ref") not in TEMPLATE["Parameters"]
        }
        assert told == {name: TEMPLATE["Outputs"][name]["Value"] for name in told}

    def test_every_parameter_is_used(self) -> None:
        used = {*references(FLEET["Resources"]), *references(FLEET["Conditions"])}
        assert set(FLEET["Parameters"]) <= used

    def test_the_socket_can_be_reached_over_ipv6(self) -> None:
        assert properties("WebSocketApi")["IpAddressType"] == {
            "Fn::If": ["HasGpuFleet", "dualstack", {"Ref": "AWS::NoValue"}]
        }


class TestWorker:
    def test_it_is_told_what_a_local_one_is_told(self) -> None:
        urls = {"HttpUrl": "https://a.example", "WsUrl": "wss://b.example"}
        outputs = {name: name for name in TEMPLATE["Outputs"]} | urls
        ports = Ports(ministack=1, triton_http=2, triton_grpc=3, triton_metrics=4, web=5)
        local = set(worker.environment(ROOT, ports, outputs))
        of_this_machine = {*aws_environment(ports.aws_endpoint_url), "PYTHONPATH"}
        of_the_image = {"VOCABULARY_PATH"}
        assert local - of_this_machine - of_the_image <= set(environment("worker"))
        assert set(environment("worker")) - local == {"INSTANCE_METADATA_URL", "PULSE_PATH"}

    def test_each_is_the_output_of_its_name(self) -> None:
        told = environment("worker")
        for variable, output in worker._OUTPUTS.items():
            assert told[variable] == {"Ref": output}
        assert told["CALLBACK_URL"] == {"Ref": "CallbackUrl"}

    def test_it_may_drain_for_as_long_as_it_says_and_be_gone_before_its_machine(self) -> None:
        drain_s = float(environment("worker")["DRAIN_S"])
        stop_s = containers()["worker"]["StopTimeout"]
        # A round of polls and the farewell come after the drain.
        assert drain_s + FAREWELL_S + 10 <= stop_s <= SPOT_NOTICE_S

    def test_its_engine_has_room_for_its_slots_and_what_tiers_may_use_beyond(self) -> None:
        engine = json.loads(
            (ROOT / "gpu_service/triton/model_repository/vllm/1/model.json").read_text()
        )
        beyond = max(limits.overcommit_slots for limits in DEFAULTS.values())
        assert FLEET["Parameters"]["Slots"]["Default"] + beyond == engine["max_num_seqs"]
        assert environment("worker")["SLOTS"] == {"Ref": "Slots"}

    def test_the_chain_is_weights_engine_worker(self) -> None:
        depends = {
            name: [(each["ContainerName"], each["Condition"]) for each in body.get("DependsOn", [])]
            for name, body in containers().items()
        }
        assert depends == {
            "weights": [],
            "triton": [("weights", "SUCCESS")],
            "worker": [("triton", "HEALTHY")],
        }
        essential = {name for name, body in containers().items() if body["Essential"]}
        assert essential == {"triton", "worker"}
        for name in essential:
            assert containers()[name]["HealthCheck"]["Command"][0] == "CMD"

    def test_containers_may_do_little(self) -> None:
        for name, body in containers().items():
            assert body["User"] == "1000:1000", name
            assert body["ReadonlyRootFilesystem"] is True, name
            assert body["LinuxParameters"]["Capabilities"] == {"Drop": ["ALL"]}, name
            assert "Privileged" not in body, name

    def test_the_engine_has_its_gpu_memory_and_files(self) -> None:
        triton = containers()["triton"]
        assert triton["ResourceRequirements"] == [
            {"Type": "GPU", "Value": {"Ref": "GpusPerWorker"}}
        ]
        assert triton["LinuxParameters"]["SharedMemorySize"] >= 1024
        for name in ("triton", "worker"):
            limits = {each["Name"]: each for each in containers()[name]["Ulimits"]}
            assert limits["nofile"]["SoftLimit"] >= 65_536
        (models,) = [each for each in triton["MountPoints"] if each["SourceVolume"] == "models"]
        assert models["ReadOnly"] is True

    def test_images_are_named_by_their_digests(self) -> None:
        for name in ("WorkerImage", "TritonImage"):
            assert FLEET["Parameters"][name]["AllowedPattern"].endswith("@sha256:[0-9a-f]{64}")
        images = {name: body["Image"]["Ref"] for name, body in containers().items()}
        assert images == {
            "weights": "WorkerImage",
            "triton": "TritonImage",
            "worker": "WorkerImage",
        }

    def test_its_lines_reach_the_logs_which_metrics_are_made_of(self) -> None:
        for name, body in containers().items():
            options = body["LogConfiguration"]["Options"]
            assert body["LogConfiguration"]["LogDriver"] == "awslogs"
            assert options["awslogs-group"]["Ref"] in of_type("AWS::Logs::LogGroup")
            if name != "weights":
                assert options["mode"] == "non-blocking"
        for group in of_type("AWS::Logs::LogGroup").values():
            assert group["RetentionInDays"] == 30
            assert group["KmsKeyId"] == {"Fn::GetAtt": "LogsKey.Arn"}


class TestNetwork:
    ENDPOINTS = of_type("AWS::EC2::VPCEndpoint")

    def services(self, kind: str) -> set[str]:
        return {
            str(each["ServiceName"]["Fn::Sub"]).removeprefix("com.amazonaws.${AWS::Region}.")
            for each in self.ENDPOINTS.values()
            if each["VpcEndpointType"] == kind
        }

    def test_every_service_that_is_called_has_its_endpoint(self) -> None:
        assert self.services("Gateway") == {"dynamodb", "s3"}
        assert self.services("Interface") == {
            *("sqs", "ssm", "states"),
            *("ecs", "ecs-agent", "ecs-telemetry"),
            *("ecr.api", "ecr.dkr", "logs", "xray"),
        }

    def test_names_of_services_lead_to_their_endpoints(self) -> None:
        for name, each in self.ENDPOINTS.items():
            if each["VpcEndpointType"] == "Interface":
                assert each["PrivateDnsEnabled"] is True, name
                assert each["SubnetIds"] == SUBNETS, name
                assert each["SecurityGroupIds"] == [{"Ref": "EndpointGroup"}], name
            else:
                assert each["RouteTableIds"] == [{"Ref": "RouteTable"}], name
        # Its private DNS would take the WebSocket API's name away.
        assert "execute-api" not in self.services("Interface")

    def test_the_service_waits_for_all_of_it(self) -> None:
        assert set(self.ENDPOINTS) | {"PostsRoute"} <= set(RESOURCES["Service"]["DependsOn"])

    def test_there_is_no_way_in_and_one_way_out(self) -> None:
        types = {body["Type"] for body in RESOURCES.values()}
        assert not types & {
            "AWS::EC2::InternetGateway",
            "AWS::EC2::NatGateway",
            "AWS::EC2::EIP",
            "AWS::EC2::VPCPeeringConnection",
        }
        assert only("AWS::EC2::Route") == {
            "RouteTableId": {"Ref": "RouteTable"},
            "DestinationIpv6CidrBlock": "::/0",
            "EgressOnlyInternetGatewayId": {"Ref": "PostsGateway"},
        }
        for name, group in of_type("AWS::EC2::SecurityGroup").items():
            for rule in group.get("SecurityGroupIngress", []):
                assert name == "EndpointGroup"
                assert rule["SourceSecurityGroupId"]["Ref"] in ("MachineGroup", "TaskGroup")
            for rule in group["SecurityGroupEgress"]:
                assert rule.get("CidrIp") == "127.0.0.1/32" or rule["ToPort"] == 443

    def test_nothing_has_a_public_ipv4_address(self) -> None:
        for subnet in of_type("AWS::EC2::Subnet").values():
            assert subnet["MapPublicIpOnLaunch"] is False
        network = only("AWS::ECS::Service")["NetworkConfiguration"]["AwsvpcConfiguration"]
        assert network["AssignPublicIp"] == "DISABLED"
        (interface,) = machine()["NetworkInterfaces"]
        assert interface["AssociatePublicIpAddress"] is False

    def test_zones_are_three(self) -> None:
        zones = [
            subnet["AvailabilityZone"]["Fn::Select"][0]
            for subnet in of_type("AWS::EC2::Subnet").values()
        ]
        assert sorted(zones) == [0, 1, 2]
        assert only("AWS::AutoScaling::AutoScalingGroup")["VPCZoneIdentifier"] == SUBNETS


def machine() -> Mapping[str, Any]:
    data: Mapping[str, Any] = only("AWS::EC2::LaunchTemplate")["LaunchTemplateData"]
    return data


class TestMachines:
    GROUP = only("AWS::AutoScaling::AutoScalingGroup")

    def test_metadata_takes_a_token_and_reaches_a_container(self) -> None:
        options = machine()["MetadataOptions"]
        assert options["HttpTokens"] == "required"
        assert options["HttpPutResponseHopLimit"] == 2

    def test_disks_are_encrypted(self) -> None:
        assert all(each["Ebs"]["Encrypted"] is True for each in machine()["BlockDeviceMappings"])

    def test_some_are_never_taken_away_and_the_rest_may_be_of_several_types(self) -> None:
        policy = self.GROUP["MixedInstancesPolicy"]
        assert policy["InstancesDistribution"]["OnDemandBaseCapacity"] == {
            "Ref": "OnDemandMachines"
        }
        assert policy["InstancesDistribution"]["SpotAllocationStrategy"] == "capacity-optimized"
        overrides = policy["LaunchTemplate"]["Overrides"]
        types = FLEET["Parameters"]["InstanceTypes"]["Default"].split(",")
        assert len(overrides) == len(set(types)) == 3
        # Of one GPU: the slots are the same on all of them.
        assert len({each.partition(".")[0] for each in types}) == 1

    def test_only_ecs_takes_machines_away_and_drains_them_before(self) -> None:
        provider = only("AWS::ECS::CapacityProvider")["AutoScalingGroupProvider"]
        assert provider["ManagedScaling"]["Status"] == "ENABLED"
        assert provider["ManagedTerminationProtection"] == "ENABLED"
        assert provider["ManagedDraining"] == "ENABLED"
        assert self.GROUP["NewInstancesProtectedFromScaleIn"] is True

    def test_the_agent_hears_of_spot_and_waits_for_a_drain(self) -> None:
        script = machine()["UserData"]["Fn::Base64"]["Fn::Sub"]
        assert "ECS_ENABLE_SPOT_INSTANCE_DRAINING=true" in script
        assert "ECS_CONTAINER_STOP_TIMEOUT=2m" in script
        # CloudFormation would fill in what the shell should.
        assert script.count("${") == script.count("${Cluster}") == 1

    @pytest.mark.parametrize("disk", ["/dev/nvme1n1", ""])
    def test_the_script_runs(self, tmp_path: Path, disk: str) -> None:
        """With programs in the place of those that need a machine, below a folder of its own."""
        script = machine()["UserData"]["Fn::Base64"]["Fn::Sub"].replace("${Cluster}", "fleet")
        for folder in ("/etc/ecs", "/mnt/chatcore"):
            script = script.replace(folder, f"{tmp_path}{folder}")
        listed = "/dev/nvme0n1 Amazon Elastic Block Store\n"
        listed += f"{disk} Amazon EC2 NVMe Instance Storage\n" if disk else ""
        programs = tmp_path / "programs"
        for name, does in (
            ("lsblk", f"printf '{listed}'"),
            *((name, f'echo {name} "$@" >> {tmp_path}/done') for name in ("mkfs.xfs", "mount")),
            # The user 1000 is made by nobody here.
            ("install", f'echo install "$@" >> {tmp_path}/done'),
        ):
            programs.mkdir(exist_ok=True)
            (programs / name).write_text(f"#!/bin/sh\n{does}\n")
            (programs / name).chmod(0o755)
        (tmp_path / "etc" / "ecs").mkdir(parents=True)
        path = f"{programs}:{os.environ['PATH']}"
        subprocess.run(["bash", "-c", script], check=True, env={"PATH": path})
        config = (tmp_path / "etc/ecs/ecs.config").read_text().splitlines()
        assert config[0] == "ECS_CLUSTER=fleet"
        assert all(re.fullmatch(r"ECS_[A-Z_]+=[a-z0-9-]+", line) for line in config)
        done = (tmp_path / "done").read_text()
        assert (f"mkfs.xfs -f {disk}\n" in done) is bool(disk)
        assert ("mount " in done) is bool(disk)
        assert f"{tmp_path}/mnt/chatcore/models {tmp_path}/mnt/chatcore/cache" in done

    def test_models_and_caches_lie_where_the_script_makes_room_for_them(self) -> None:
        script = machine()["UserData"]["Fn::Base64"]["Fn::Sub"]
        for volume in only("AWS::ECS::TaskDefinition")["Volumes"]:
            assert volume["Host"]["SourcePath"] in script
        assert "-o 1000 -g 1000" in script


class TestScaling:
    METRICS = only("AWS::CloudWatch::Alarm")["Metrics"]

    def tracking(self) -> Mapping[str, Any]:
        policy = of_type("AWS::ApplicationAutoScaling::ScalingPolicy")["FollowLoad"]
        found: Mapping[str, Any] = policy["TargetTrackingScalingPolicyConfiguration"]
        return found

    def test_it_is_the_rule_of_the_domain(self) -> None:
        goals = Goals(slots_per_worker=1, least=0, most=1)
        assert self.tracking()["TargetValue"] == pytest.approx(1 - goals.spare)
        assert self.tracking()["ScaleInCooldown"] == goals.quiet_s
        (load,) = [each for each in self.METRICS if each["ReturnData"]]
        names = [str(tier) for tier in Tier]
        backlog = " + ".join(f"FILL({name}, 0)" for name in names)
        # The sums over a minute are of so many figures of each worker.
        told = 60 / TELL_EVERY_S
        drain = f"{goals.drain_s:.0f}"
        assert load["Expression"] == f"(busy + {told:.0f} * ({backlog}) / {drain}) / slots"
        statistics = {
            each["Id"]: each["MetricStat"]["Stat"] for each in self.METRICS if "MetricStat" in each
        }
        assert statistics == {
            **dict.fromkeys(names, "Average"),
            **dict.fromkeys(("busy", "slots"), "Sum"),
        }
        assert {each["MetricStat"]["Period"] for each in self.METRICS if "MetricStat" in each} == {
            60
        }

    def test_its_metrics_are_those_that_a_worker_logs(self) -> None:
        found = {
            each["Id"]: (
                each["MetricStat"]["Metric"]["MetricName"],
                {
                    dimension["Name"]: dimension["Value"]
                    for dimension in each["MetricStat"]["Metric"]["Dimensions"]
                },
            )
            for each in self.METRICS
            if "MetricStat" in each
        }
        service = {"service": "worker"}
        assert found == {
            **{str(t): ("backlog_slot_s", {"tier": str(t), **service}) for t in Tier},
            "busy": ("busy_slots", service),
            "slots": ("slots", service),
        }
        for each in self.METRICS:
            if "MetricStat" in each:
                assert each["MetricStat"]["Metric"]["Namespace"] == "chatcore"
        assert (BACKLOGS.by_tier, SLOTS.by_tier, SERVICE) == (True, False, "worker")
        assert "backlog_slot_s" in BACKLOGS.units
        assert {"slots", "busy_slots"} <= set(SLOTS.units)

    def test_a_rush_is_seen_by_the_same_figure(self) -> None:
        tracked = self.tracking()["CustomizedMetricSpecification"]["Metrics"]
        without_period = [
            {
                **each,
                **(
                    {
                        "MetricStat": {
                            key: value
                            for key, value in each["MetricStat"].items()
                            if key != "Period"
                        }
                    }
                    if "MetricStat" in each
                    else {}
                ),
            }
            for each in self.METRICS
        ]
        assert tracked == without_period

    def test_deploys_leave_the_number_of_workers_alone(self) -> None:
        service = only("AWS::ECS::Service")
        assert "DesiredCount" not in service
        # With one worker, half as much again would be one: the new one could never start.
        assert service["DeploymentConfiguration"]["MaximumPercent"] == 200
        assert service["DeploymentConfiguration"]["MinimumHealthyPercent"] == 100

    def test_the_peak_has_a_begin_and_an_end(self) -> None:
        condition, actions, _ = only("AWS::ApplicationAutoScaling::ScalableTarget")[
            "ScheduledActions"
        ]["Fn::If"]
        assert condition == "HasPeak"
        least = [each["ScalableTargetAction"]["MinCapacity"]["Ref"] for each in actions]
        assert least == ["PeakWorkers", "MinWorkers"]


_ARN = "arn:${AWS::Partition}"
_HERE = "${AWS::Region}:${AWS::AccountId}"


def _table(name: str) -> str:
    return f"{_ARN}:dynamodb:{_HERE}:table/${{{name}}}"


_QUEUES = f"{_ARN}:sqs:{_HERE}:${{Name}}-*"
_CONTAINER_INSTANCES = f"{_ARN}:ecs:{_HERE}:container-instance/${{Cluster}}/*"
_MODEL = f"{_ARN}:s3:::${{ModelBucket}}"
_IMAGES = f"{_ARN}:ecr:${{AWS::Region}}:${{Account}}:repository/${{Repository}}"
_LOGS = {"WorkerLogs", "TritonLogs"}

PERMISSIONS: dict[str, dict[str, set[str]]] = {
    "MachineRole": {
        "ecs:DeregisterContainerInstance": {"Cluster"},
        "ecs:RegisterContainerInstance": {"Cluster"},
        "ecs:SubmitAttachmentStateChanges": {"Cluster"},
        "ecs:SubmitContainerStateChange": {"Cluster"},
        "ecs:SubmitTaskStateChange": {"Cluster"},
        "ecs:Poll": {_CONTAINER_INSTANCES},
        "ecs:StartTelemetrySession": {_CONTAINER_INSTANCES},
        "ecs:UpdateContainerInstancesState": {_CONTAINER_INSTANCES},
        "ecs:DiscoverPollEndpoint": {"*"},
    },
    "StartRole": {
        "ecr:GetAuthorizationToken": {"*"},
        "ecr:BatchCheckLayerAvailability": {_IMAGES},
        "ecr:BatchGetImage": {_IMAGES},
        "ecr:GetDownloadUrlForLayer": {_IMAGES},
        "logs:CreateLogStream": _LOGS,
        "logs:PutLogEvents": _LOGS,
    },
    "WorkerRole": {
        "dynamodb:BatchWriteItem": {_table("CheckpointsTable")},
        "dynamodb:DeleteItem": {_table("RunsTable"), _table("WorkersTable")},
        "dynamodb:GetItem": {
            *map(_table, ("RunsTable", "SummariesTable", "LedgersTable", "CalendarsTable")),
            _table("WorkersTable"),
        },
        "dynamodb:PutItem": {
            *map(_table, ("RunsTable", "MessagesTable", "SummariesTable")),
            _table("WorkersTable"),
        },
        "dynamodb:Query": {_table("CheckpointsTable"), _table("MessagesTable")},
        "dynamodb:Scan": {_table("WorkersTable")},
        "dynamodb:UpdateItem": {
            *map(_table, ("RunsTable", "ChatsTable", "LedgersTable", "UsageTable")),
            _table("CalendarsTable"),
        },
        "sqs:ChangeMessageVisibility": {_QUEUES},
        "sqs:CreateQueue": {_QUEUES},
        "sqs:DeleteMessage": {_QUEUES},
        "sqs:DeleteQueue": {_QUEUES},
        "sqs:GetQueueAttributes": {_QUEUES},
        "sqs:ReceiveMessage": {_QUEUES},
        "sqs:SendMessage": {_QUEUES, f"{_ARN}:sqs:{_HERE}:${{Name}}"},
        "ssm:GetParameter": {f"{_ARN}:ssm:{_HERE}:parameter${{TiersParameter}}"},
        "states:StartExecution": {"CompactStateMachineArn"},
        "states:SendTaskFailure": {"*"},
        "states:SendTaskHeartbeat": {"*"},
        "states:SendTaskSuccess": {"*"},
        "execute-api:ManageConnections": {
            f"{_ARN}:execute-api:{_HERE}:${{Api}}/${{Stage}}/POST/@connections/*"
        },
        "ecs:UpdateTaskProtection": {f"{_ARN}:ecs:{_HERE}:task/${{Cluster}}/*"},
        "xray:PutTraceSegments": {"*"},
        "s3:ListBucket": {_MODEL},
        "s3:GetObject": {f"{_MODEL}/${{ModelPrefix}}/*"},
    },
}

# These services know no resource for them (AWS's Service Authorization Reference).
WITHOUT_RESOURCE = {
    "ecr:GetAuthorizationToken",
    "ecs:DiscoverPollEndpoint",
    "states:SendTaskFailure",
    "states:SendTaskHeartbeat",
    "states:SendTaskSuccess",
    "xray:PutTraceSegments",
}


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _statements(role: str) -> Iterator[Mapping[str, Any]]:
    for policy in of_type("AWS::IAM::Role")[role]["Policies"]:
        yield from policy["PolicyDocument"]["Statement"]


def _target(resource: object) -> str:
    if isinstance(resource, str):
        return resource
    assert isinstance(resource, Mapping)
    if "Fn::Sub" in resource:
        text = resource["Fn::Sub"]
        return str(text if isinstance(text, str) else text[0])
    return next(references(resource))


class TestPermissions:
    @pytest.mark.parametrize("role", sorted(of_type("AWS::IAM::Role")))
    def test_role_may_do_what_is_listed_and_nothing_else(self, role: str) -> None:
        granted: dict[str, set[str]] = defaultdict(set)
        for statement in _statements(role):
            assert statement["Effect"] == "Allow"
            for action in _listed(statement["Action"]):
                granted[action] |= {_target(each) for each in _listed(statement["Resource"])}
        assert granted == PERMISSIONS[role]
        assert "ManagedPolicyArns" not in of_type("AWS::IAM::Role")[role]

    def test_no_action_is_a_pattern_and_only_what_knows_no_resource_has_all(self) -> None:
        for role, permissions in PERMISSIONS.items():
            for action, targets in permissions.items():
                assert "*" not in action, role
                assert ("*" in targets) == (action in WITHOUT_RESOURCE), (role, action)

    def test_the_machine_itself_sees_nothing_of_what_users_wrote(self) -> None:
        # A container can reach the machine's credentials through the metadata service.
        assert {action.partition(":")[0] for action in PERMISSIONS["MachineRole"]} == {"ecs"}

    def test_nobody_else_takes_the_roles(self) -> None:
        trusted = {
            name: role["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]["Service"]
            for name, role in of_type("AWS::IAM::Role").items()
        }
        assert trusted == {
            "MachineRole": "ec2.amazonaws.com",
            "StartRole": "ecs-tasks.amazonaws.com",
            "WorkerRole": "ecs-tasks.amazonaws.com",
        }

    def test_endpoints_of_data_let_only_this_account_and_this_model_through(self) -> None:
        endpoints = of_type("AWS::EC2::VPCEndpoint")
        (dynamo,) = endpoints["DynamoDbEndpoint"]["PolicyDocument"]["Statement"]
        assert dynamo["Condition"] == {
            "StringEquals": {"aws:PrincipalAccount": {"Ref": "AWS::AccountId"}}
        }
        used = {action for action in PERMISSIONS["WorkerRole"] if action.startswith("dynamodb:")}
        assert set(dynamo["Action"]) == used
        (s3,) = endpoints["S3Endpoint"]["PolicyDocument"]["Statement"]
        assert set(s3["Action"]) == {"s3:GetObject", "s3:ListBucket"}
        assert {_target(each) for each in s3["Resource"]} == {
            _MODEL,
            f"{_MODEL}/${{ModelPrefix}}/*",
            f"{_ARN}:s3:::prod-${{AWS::Region}}-starport-layer-bucket/*",
        }


GIB = 2**30


class TestPage:
    TEXT = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")

    @pytest.mark.parametrize("gpu", ["L4", "L40S", "H100"])
    def test_computed_figures_follow_from_their_formula(self, gpu: str) -> None:
        (cells,) = [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in self.TEXT.splitlines()
            if f"| {gpu} |" in line
        ]
        _, _, memory, bandwidth, cache, slot, step = (cell.split(" ")[0] for cell in cells)
        layer_bytes = 2 * 8 * 64 * 2
        token_bytes = 12 * layer_bytes
        window_bytes = 64 * 12 * 128 * layer_bytes
        weight_bytes = 12.8 * GIB
        free_bytes = float(memory) * 0.9 * GIB - weight_bytes - 2.5 * GIB - window_bytes
        tokens = free_bytes / token_bytes
        assert cache == f"{round(tokens, -3):,.0f}"
        assert slot == f"{tokens / 64:,.0f}"
        read_bytes = weight_bytes + 64 * 3_000 * token_bytes + window_bytes
        assert step == f"{read_bytes / float(bandwidth.replace(',', '')) / 1e6:.0f}"

    def test_settings_are_those_of_the_engine(self) -> None:
        engine = json.loads(
            (ROOT / "gpu_service/triton/model_repository/vllm/1/model.json").read_text()
        )
        for name, value in engine.items():
            if name != "disable_log_stats":
                told = str(value).lower() if isinstance(value, bool) else str(value)
                assert f"| `{name}` | {told} |" in self.TEXT.replace("`/tmp/model`", "/tmp/model")

    def test_bands_of_a_rush_are_as_told(self) -> None:
        policies = of_type("AWS::ApplicationAutoScaling::ScalingPolicy")
        steps = policies["Rush"]["StepScalingPolicyConfiguration"]["StepAdjustments"]
        assert only("AWS::CloudWatch::Alarm")["Threshold"] == 1.5
        assert [each["ScalingAdjustment"] for each in steps] == [50, 100]
        assert steps[1]["MetricIntervalLowerBound"] + 1.5 == 3
        assert "half as many workers again at 1.5, twice as many at 3" in self.TEXT

    def test_every_output_that_a_second_fleet_takes_is_named_in_its_command(self) -> None:
        (pattern,) = re.findall(r"\^\(([\w|]+)\)=", self.TEXT)
        taken = {
            name
            for name, value in properties("GpuFleetStack")["Parameters"].items()
            if value.get("Ref") not in TEMPLATE["Parameters"]
        }
        assert set(pattern.split("|")) == taken
