{{- /* Contradictions that the schema cannot see, told at once; each line names the value and the remedy. */ -}}

{{- define "asya-operator.validate" -}}
{{- include "asya-operator.stop" (list (include "asya-operator.problems" .) .) -}}
{{- end }}

{{- define "asya-operator.problems" -}}
{{- include "asya-operator.transportProblems" . }}
{{- include "asya-operator.processProblems" . }}
{{- include "asya-operator.envProblems" (list "env" .Values.env "^ASYA_OPERATOR_[A-Z_]+$") }}
{{- end }}

{{- define "asya-operator.transportProblems" -}}
{{- $transports := .Values.transports | default dict }}
{{- $rabbitmq := $transports.rabbitmq | default dict }}{{ $sqs := $transports.sqs | default dict }}
{{- $default := $transports.default | default "rabbitmq" }}
{{- if not (index $transports $default | default dict).enabled }}
- transports.default is {{ $default }}, which is not enabled; set transports.{{ $default }}.enabled to true, or choose another default
{{- end }}
{{- if $rabbitmq.enabled }}
{{- if not $rabbitmq.host }}
- transports.rabbitmq.host is not set; set it to the broker's Service, such as rabbitmq.mq.svc, or transports.rabbitmq.enabled to false
{{- else if regexMatch "[:/@]" $rabbitmq.host }}
- transports.rabbitmq.host {{ $rabbitmq.host | quote }} is no host name; the port goes to transports.rabbitmq.port, credentials to a Secret
{{- end }}
{{- range $name := list "operatorSecret" "actorSecret" }}
{{- if not (index $rabbitmq $name | default dict).name }}
- transports.rabbitmq.{{ $name }}.name is not set; set it to the name of a Secret
{{- end }}
{{- end }}
{{- end }}
{{- if and $sqs.enabled (not $sqs.region) }}
- transports.sqs.region is not set; set it, such as eu-central-1
{{- end }}
{{- if and $sqs.enabled (eq (toString $sqs.auth) "secret") }}
{{- range $name := list "operatorSecret" "actorSecret" }}
{{- if not (index $sqs $name | default dict).name }}
- transports.sqs.{{ $name }}.name is not set; set it to the name of a Secret, or transports.sqs.auth to podIdentity
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "asya-operator.processProblems" -}}
{{- $namespaces := include "asya-operator.namespaces" . | fromJsonArray }}
{{- $scope := (.Values.watch).scope | default "cluster" }}
{{- if and (eq $scope "namespace") (not $namespaces) }}
- watch.scope is namespace, but watch.namespaces names none; set watch.namespaces.NAME to true
{{- else if and (eq $scope "cluster") $namespaces }}
- watch.namespaces has no effect with watch.scope cluster; set watch.scope to namespace, or remove them
{{- end }}
{{- $election := .Values.leaderElection | default dict }}
{{- $lease := int64 ($election.leaseDuration | default 15) }}{{ $renew := int64 ($election.renewDeadline | default 10) }}{{ $retry := int64 ($election.retryPeriod | default 2) }}
{{- if or (ge $renew $lease) (ge $retry $renew) }}
- leaderElection: retryPeriod {{ $retry }} < renewDeadline {{ $renew }} < leaseDuration {{ $lease }} does not hold; else two operators might lead
{{- end }}
{{- if and (eq ((.Values.gateway).auth | default "jwt") "key") (not (.Values.gateway).keySecret) }}
- gateway.keySecret is not set; set it to the name of a Secret, or gateway.auth to jwt
{{- end }}
{{- range $name, $volume := .Values.volumes }}
{{- if has $name (list "settings" "runtime" "tmp" "rabbitmq" "rabbitmq-ca") }}
- volumes.{{ $name }}: this name is the operator's own; choose another
{{- end }}
{{- end }}
{{- if hasKey (.Values.extraContainers | default dict) "operator" }}
- extraContainers.operator: this name is the operator's own; choose another
{{- end }}
{{- range $key := list "podLabels" }}
{{- range $label := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" }}
{{- if hasKey (index $.Values $key | default dict) $label }}
- {{ $key }}: the label {{ $label }} selects the operator's pods; remove it
{{- end }}
{{- end }}
{{- end }}
{{- end }}
