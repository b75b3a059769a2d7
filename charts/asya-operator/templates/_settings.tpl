{{- /* The operator's settings file: the values of the same names, images resolved. */ -}}
{{- define "asya-operator.settings" -}}
{{- $values := .Values }}
{{- $settings := dict }}
{{- range $key := list "watch" "leaderElection" "transports" "limits" "gateway" "claims" "tracing" "scaling" "rollout" "drain" "reconcile" "log" }}
{{- with index $values $key }}{{ $_ := set $settings $key . }}{{ end }}
{{- end }}
{{- $sidecar := include "asya-operator.pick" (list $values.sidecar (list "resources" "logLevel")) | fromJson }}
{{- $_ := set $sidecar "image" (include "asya-operator.sidecarImage" .) }}
{{- with (($values.sidecar).image).pullPolicy }}{{ $_ := set $sidecar "imagePullPolicy" . }}{{ end }}
{{- $env := dict }}
{{- range $entry := include "asya-operator.env" (list ($values.sidecar).env .) | fromJsonArray }}
{{- $_ := set $env $entry.name (ternary (dict "valueFrom" $entry.valueFrom) $entry.value (hasKey $entry "valueFrom")) }}
{{- end }}
{{- with $env }}{{ $_ := set $sidecar "env" . }}{{ end }}
{{- $_ := set $settings "sidecar" $sidecar }}
{{- $policy := deepCopy ($values.podPolicy | default dict) }}
{{- range $key := list "runAsUser" "fsGroup" }}{{ if not (hasKey $policy $key) }}{{ $_ := set $policy $key nil }}{{ end }}{{ end }}
{{- $_ := set $settings "podPolicy" $policy }}
{{- $_ := set $settings "metrics" (dict "port" (int64 ((($values.metrics).port) | default 8080))) }}
{{- toYaml $settings }}
{{- end }}
