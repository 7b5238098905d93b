"""The web page's bucket and its distribution: who may read, and what the page may do."""

import json
import subprocess

import pytest

from deploy.template import properties
from local.web import content_security_policy

# The hosts of a stack, as the template writes them.
HOSTS = {
    "http_url": "https://${HttpApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}",
    "ws_url": "wss://${WebSocketApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}/v1",
    "cognito_url": "https://cognito-idp.${AWS::Region}.${AWS::URLSuffix}",
}


def test_only_the_distribution_reads_the_bucket() -> None:
    assert set(properties("PageBucket")["PublicAccessBlockConfiguration"].values()) == {True}
    reads, in_the_clear = properties("PageBucketPolicy")["PolicyDocument"]["Statement"]
    assert reads["Principal"] == {"Service": "cloudfront.amazonaws.com"}
    assert reads["Action"] == "s3:GetObject"
    (source,) = reads["Condition"]["StringEquals"].values()
    assert source["Fn::Sub"].endswith("distribution/${PageDistribution}")
    assert in_the_clear["Effect"] == "Deny"
    (origin,) = properties("PageDistribution")["DistributionConfig"]["Origins"]
    assert origin["OriginAccessControlId"] == {"Fn::GetAtt": "PageAccess.Id"}
    access = properties("PageAccess")["OriginAccessControlConfig"]
    assert (access["SigningBehavior"], access["SigningProtocol"]) == ("always", "sigv4")


def test_the_page_may_do_on_aws_what_it_may_locally() -> None:
    headers = properties("PageHeaders")["ResponseHeadersPolicyConfig"]
    policy = headers["SecurityHeadersConfig"]["ContentSecurityPolicy"]
    written = policy["ContentSecurityPolicy"]["Fn::Sub"]
    assert written == content_security_policy(HOSTS)
    assert {each["Header"] for each in headers["CustomHeadersConfig"]["Items"]} == {
        "cross-origin-opener-policy",
        "permissions-policy",
    }


def test_nothing_is_served_in_the_clear() -> None:
    behaviour = properties("PageDistribution")["DistributionConfig"]["DefaultCacheBehavior"]
    assert behaviour["ViewerProtocolPolicy"] == "redirect-to-https"
    assert behaviour["ResponseHeadersPolicyId"] == {"Ref": "PageHeaders"}
    assert behaviour["FunctionAssociations"][0]["FunctionARN"] == {
        "Fn::GetAtt": "PagePlaces.FunctionARN"
    }


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        ("/", "/index.html"),
        ("/a/place", "/index.html"),
        ("/v1.2/place", "/index.html"),
        ("/index.html", "/index.html"),
        ("/assets/gone-1.js", "/assets/gone-1.js"),
        ("/config.json", "/config.json"),
    ],
)
def test_places_are_the_page_and_missing_files_are_missing(asked: str, served: str) -> None:
    code = properties("PagePlaces")["FunctionCode"]
    event = json.dumps({"request": {"uri": asked}})
    ran = subprocess.run(
        ["node", "-e", f"{code}\nconsole.log(handler({event}).uri)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert ran.stdout.strip() == served
