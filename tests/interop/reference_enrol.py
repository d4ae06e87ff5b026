"""The reference's own enrolment and policy client, as it is in hermes-agent, told what to do by a test.

Commands, each answered with {"event":"done","result":…}, or with {"event":"failed","error":…}:
  {"do":"enroll","url":…,"token":…,"identity":…,"id":…}
  {"do":"policy","url":…,"id":…,"secret":…,"policy":{…}}
  {"do":"configuration"}: what it reads in its environment
"""

import json
import sys

import gateway.relay as relay
from gateway.relay.auth import make_upgrade_token
from hermes_cli import gateway_enroll

from lines import tell


def obey(command):
    match command["do"]:
        case "enroll":
            return gateway_enroll._post_enroll(
                connector_base_url=gateway_enroll._resolve_connector_url(command["url"]),
                access_token=command["identity"],
                enrollment_token=command["token"],
                gateway_id=command["id"],
            )
        case "policy":
            token = make_upgrade_token(command["id"], command["secret"])
            return relay._post_policy(policy_url=relay._policy_url(command["url"]), token=token, policy=command["policy"])
        case "configuration":
            identities = [list(identity) for identity in relay.relay_platform_identities()]
            return {"url": relay.relay_url(), "auth": list(relay.relay_connection_auth()), "identities": identities}


for line in sys.stdin:
    try:
        tell("done", result=obey(json.loads(line)))
    except Exception as error:
        tell("failed", error=str(error))
