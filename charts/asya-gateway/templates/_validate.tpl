{{- /* Contradictions that the schema cannot see, told at once; each line names the value and the remedy. */ -}}

{{- define "asya-gateway.validate" -}}
{{- include "asya-gateway.stop" (list (include "asya-gateway.problems" .) .) -}}
{{- end }}

{{- define "asya-gateway.problems" -}}
{{- include "asya-gateway.placeProblems" . }}
{{- include "asya-gateway.storeProblems" . }}
{{- include "asya-gateway.accessProblems" . }}
{{- include "asya-gateway.toolProblems" . }}
{{- include "asya-gateway.podProblems" . }}
{{- end }}

{{- define "asya-gateway.placeProblems" -}}
{{- $rabbitmq := .Values.rabbitmq | default dict }}
{{- if include "asya-gateway.isSqs" . }}
{{- if not (.Values.sqs).region }}
- sqs.region is not set; set it, such as eu-central-1
{{- end }}
{{- else if not $rabbitmq.host }}
- rabbitmq.host is not set; set it to the broker's Service, such as rabbitmq.mq.svc
{{- else if regexMatch "[:/@]" $rabbitmq.host }}
- rabbitmq.host {{ $rabbitmq.host | quote }} is no host name; the port goes to rabbitmq.port, credentials to a Secret
{{- end }}
{{- if and (not (include "asya-gateway.isSqs" .)) (not ($rabbitmq.existingSecret).name) }}
- rabbitmq.existingSecret.name is not set; set it to the name of a Secret
{{- end }}
{{- $secrets := include "asya-gateway.awsSecrets" . | fromJsonArray }}
{{- if gt (len $secrets) 1 }}
- Secrets {{ join ", " $secrets }} are named for AWS keys, but one pair serves sqs, claims and results; name one Secret, or use pod identity
{{- end }}
{{- if and (.Values.ingress).enabled (not (.Values.ingress).hosts) }}
- ingress.hosts names none; set ingress.hosts.NAME to {path: /}, or ingress.enabled to false
{{- end }}
{{- if and (.Values.httpRoute).enabled (not (.Values.httpRoute).parentRefs) }}
- httpRoute.parentRefs names none; set httpRoute.parentRefs.NAME to {name: GATEWAY}, or httpRoute.enabled to false
{{- end }}
{{- end }}

{{- define "asya-gateway.storeProblems" -}}
{{- $isPostgres := include "asya-gateway.isPostgres" . }}{{ $autoscaling := .Values.autoscaling | default dict }}
{{- $replicas := ternary 1 (int64 .Values.replicas) (kindIs "invalid" .Values.replicas) }}
{{- if and (not $isPostgres) (gt $replicas 1) }}
- replicas {{ $replicas }} needs store.type postgres; SQLite is one file of one process, set replicas to 1
{{- end }}
{{- if and (not $isPostgres) $autoscaling.enabled }}
- autoscaling.enabled needs store.type postgres; SQLite is one file of one process
{{- end }}
{{- if and $autoscaling.enabled (ne $replicas 1) }}
- replicas {{ $replicas }} has no effect with autoscaling.enabled; set autoscaling.minReplicas
{{- end }}
{{- $least := int64 ($autoscaling.minReplicas | default 2) }}{{ $most := int64 ($autoscaling.maxReplicas | default 5) }}
{{- if gt $least $most }}
- autoscaling.minReplicas {{ $least }} is above autoscaling.maxReplicas {{ $most }}; lower it, or raise the other
{{- end }}
{{- if and $isPostgres (not (((.Values.store).postgres).existingSecret).name) }}
- store.postgres.existingSecret.name is not set; set it to a Secret with the database's address
{{- end }}
{{- if and ((.Values.results).s3).bucket ((.Values.results).directory).claimName }}
- results.s3.bucket and results.directory.claimName are both set; set the one that the end actors write to
{{- end }}
{{- end }}

{{- define "asya-gateway.accessProblems" -}}
{{- $auth := .Values.auth | default dict }}{{ $mode := $auth.mode | default "apiKey" }}
{{- if and (eq $mode "none") (not $auth.allowAnonymous) }}
- auth.mode is none, so everybody who reaches the Service may do everything; say it twice with auth.allowAnonymous true, or choose apiKey
{{- else if and $auth.allowAnonymous (ne $mode "none") }}
- auth.allowAnonymous has no effect with auth.mode {{ $mode }}; remove it
{{- end }}
{{- if and (eq $mode "apiKey") (not ($auth.apiKeys).existingSecret) }}
- auth.apiKeys.existingSecret is not set; set it to a Secret with keys.yaml
{{- end }}
{{- if eq $mode "oauth" }}
{{- range $key := list "issuer" "audience" "jwksUrl" }}
{{- if not (index ($auth.oauth | default dict) $key) }}
- auth.oauth.{{ $key }} is not set; auth.mode oauth needs it
{{- end }}
{{- end }}
{{- end }}
{{- if and (eq ((.Values.internal).auth | default "jwt") "key") (not (.Values.internal).keySecret) }}
- internal.keySecret is not set; set it to the name of a Secret, or internal.auth to jwt
{{- end }}
{{- end }}

{{- /* The gateway keeps its older tools if it refuses a file, but does not start with one: what can be seen here is told here. */ -}}
{{- define "asya-gateway.toolProblems" -}}
{{- $flows := .Values.flows | default dict }}
{{- range $name, $tool := .Values.tools }}
{{- if not (kindIs "invalid" $tool) }}
{{- if hasPrefix "asya_" $name }}
- tools.{{ $name }}: names that begin with asya_ are the gateway's own; rename the tool
{{- end }}
{{- $targets := list }}
{{- range $key := list "actor" "flow" "route" }}{{ if index $tool $key }}{{ $targets = append $targets $key }}{{ end }}{{ end }}
{{- if ne (len $targets) 1 }}
- tools.{{ $name }} names {{ $targets | join " and " | default "none" }} of actor, flow and route; name exactly one
{{- end }}
{{- if and $tool.flow (not (index $flows (toString $tool.flow))) }}
- tools.{{ $name }}.flow {{ $tool.flow }} is none of flows; give the whole file that asya flow compile wrote
{{- end }}
{{- end }}
{{- end }}
{{- $size := include "asya-gateway.tools" . | len }}
{{- if gt $size 921600 }}
- tools and flows hold {{ $size }} bytes, 921600 (900 KiB) fit into a ConfigMap; leave the graphs out of flows
{{- end }}
{{- end }}

{{- define "asya-gateway.podProblems" -}}
{{- include "asya-gateway.envProblems" (list "env" .Values.env "^ASYA_") }}
{{- range $name, $value := .Values.env }}
{{- if hasPrefix "ASYA_" $name }}
- env.{{ $name }}: the chart makes the gateway's settings; use its values instead
{{- end }}
{{- end }}
{{- range $name, $volume := .Values.volumes }}
{{- if has $name (list "tools" "rabbitmq" "rabbitmq-ca" "keys" "internal" "postgres" "migrate" "results" "data" "tmp") }}
- volumes.{{ $name }}: this name is the gateway's own; choose another
{{- end }}
{{- end }}
{{- if hasKey (.Values.extraContainers | default dict) "gateway" }}
- extraContainers.gateway: this name is the gateway's own; choose another
{{- end }}
{{- if hasKey (.Values.initContainers | default dict) "migrate" }}
- initContainers.migrate: this name is the gateway's own; choose another
{{- end }}
{{- range $label := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" }}
{{- if hasKey ($.Values.podLabels | default dict) $label }}
- podLabels: the label {{ $label }} selects the gateway's pods; remove it
{{- end }}
{{- end }}
{{- end }}
