"""What alerts say, as templates that the Prefect server fills in from the run that they are about."""

from __future__ import annotations

# A backfill without its parameters does nothing: a retry has them.
AGAIN = '{{ "Retry in the UI" if flow.name == "backfill" else "floe run " ~ name }}'
# A run tagged "resume" is put back after a crash (deployments/automations.yaml), at the latest when Prefect
# stops waiting for earlier events, after 15 minutes. Another run would do the same work a second time.
GOES_ON = (
    '{%- if "resume" in flow_run.tags -%}nothing: it is started again by itself, up to three starts. '
    "If it is still Crashed in 20 minutes: prefect flow-run retry {{ flow_run.id }}"
    "{%- elif asker -%}nothing: {{ asker }} starts another one, up to three, and is told of if that does "
    "not help"
    f"{{%- else -%}}{AGAIN}{{%- endif -%}}"
)
# Added to the command of a failed run: what was not started goes on, and nothing is done twice.
THEN_ITS_ASKER = (
    "{%- if asker %}; when {{ asker }} has ended: prefect flow-run retry {{ task_run.flow_run_id }}"
    "{% endif -%}"
)

# What each text begins with: the parts of an alert, from the run's own message. The first "Next:" is the
# one of the error that came first, also where a parent run repeats its child's message. `asker` is the
# deployment whose run asked for this one and waits for it, and `group` the same for all that it asked for.
PARTS = """\
{%- set name = flow.name ~ "/" ~ deployment.name -%}
{%- set owner = owners.get(name, everything_else) -%}
{%- set asker -%}
{%- for tag in flow_run.tags if tag.startswith(asked_for_by) and flow_run.state.name != "Completed" -%}
{{ tag | replace(asked_for_by, "") }}
{%- endfor -%}
{%- endset -%}
{%- set waiting = asker ~ ", owner " ~ owners.get(asker, everything_else) if asker else "" -%}
{%- set group = "prefect.flow-run." ~ task_run.flow_run_id if asker else event.resource.id -%}
{%- set told = (flow_run.state.message or "").split("\\nNext: ") -%}
{%- set message = told[0] | replace("Flow run encountered an exception: ", "") | truncate(1500) -%}
{%- set what -%} <what> {%- endset -%}
{%- set error -%} <error> {%- endset -%}
{%- set usual -%} <command> {%- endset -%}
{%- set next = told[1].split("\\n")[0] if told | length > 1 else usual -%}
{%- set next -%} {{ next }}<then> {%- endset -%}
{%- set link -%} {{ ui }}/<page> {%- endset -%}
"""
TEXT = """\
{{ what }}
Owner: {{ owner }}
{% if waiting %}Waiting: {{ waiting }}
{% endif %}Error: {{ error }}
Look: {{ link }}
Next: {{ next }}"""
JSON = (
    '{"text": {{ text | tojson }}, "what": {{ what | tojson }}, "owner": {{ owner | tojson }}, '
    '"waiting": {{ waiting | tojson }}, "error": {{ error | tojson }}, "link": {{ link | tojson }}, '
    '"next": {{ next | tojson }}, "group": {{ group | tojson }}}'
)
