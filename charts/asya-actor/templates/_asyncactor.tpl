{{- /*
The AsyncActor: what the user chose, nothing that the operator injects, so that a diff shows the user's change alone. Other charts include
it with values of their own: a dict of Values, Chart, Release, Capabilities, Template.
*/ -}}

{{- define "asya-actor.scaling" -}}
{{- $values := .Values.scaling | default dict }}
{{- $keys := list "enabled" "minReplicas" "maxReplicas" "queueLength" "activationQueueLength" "pollingInterval" "cooldownPeriod" "initialCooldownPeriod" "paused" "pausedReplicas" "behavior" "fallback" "modifiers" }}
{{- $scaling := include "asya-actor.pick" (list $values $keys) | fromJson }}
{{- $prewarm := list }}
{{- range $actor := keys ($values.prewarm | default dict) | sortAlpha }}
{{- $entry := index $values.prewarm $actor }}
{{- if not (kindIs "invalid" $entry) }}{{ $prewarm = append $prewarm (merge (dict "actor" $actor) $entry) }}{{ end }}
{{- end }}
{{- with $prewarm }}{{ $_ := set $scaling "prewarm" . }}{{ end }}
{{- $triggers := include "asya-actor.named" (list $values.extraTriggers .) | fromJsonArray }}
{{- range $trigger := $triggers }}
{{- range $key, $value := $trigger.metadata }}{{ if not (kindIs "string" $value) }}{{ $_ := set $trigger.metadata $key (toJson $value) }}{{ end }}{{ end }}
{{- end }}
{{- with $triggers }}{{ $_ := set $scaling "extraTriggers" . }}{{ end }}
{{- toJson $scaling }}
{{- end }}

{{- define "asya-actor.retry" -}}
{{- $values := .Values.retry | default dict }}
{{- $retry := include "asya-actor.pick" (list $values (list "maxAttempts")) | fromJson }}
{{- with include "asya-actor.pick" (list $values.backoff (list "initial" "factor" "max")) | fromJson }}{{ $_ := set $retry "backoff" . }}{{ end }}
{{- range $key := list "include" "exclude" }}
{{- with include "asya-actor.chosen" (index $values $key) | fromJsonArray }}{{ $_ := set $retry $key . }}{{ end }}
{{- end }}
{{- toJson $retry }}
{{- end }}

{{- define "asya-actor.sidecar" -}}
{{- $values := .Values.sidecar | default dict }}
{{- $sidecar := include "asya-actor.pick" (list $values (list "image" "resources" "logLevel")) | fromJson }}
{{- with $values.prefetch }}{{ $_ := set $sidecar "prefetch" (ternary . (int64 .) (eq (toString .) "auto")) }}{{ end }}
{{- with include "asya-actor.env" (list $values.env .) | fromJsonArray }}{{ $_ := set $sidecar "env" . }}{{ end }}
{{- toJson $sidecar }}
{{- end }}

{{- define "asya-actor.workload" -}}
{{- $values := .Values.workload | default dict }}
{{- $workload := include "asya-actor.pick" (list $values (list "kind" "revisionHistoryLimit")) | fromJson }}
{{- with $values.strategy }}{{ $_ := set $workload "strategy" . }}{{ end }}
{{- if eq (toString (.Values.scaling).enabled) "false" }}
{{- with include "asya-actor.pick" (list .Values.scaling (list "replicas")) | fromJson }}{{ $_ := set $workload "replicas" .replicas }}{{ end }}
{{- end }}
{{- $claims := list }}
{{- range $name := keys ($values.volumeClaimTemplates | default dict) | sortAlpha }}
{{- with index $values.volumeClaimTemplates $name }}
{{- $claims = append $claims (dict "metadata" (dict "name" $name) "spec" (include "asya-actor.object" (list . $) | fromJson)) }}
{{- end }}
{{- end }}
{{- with $claims }}{{ $_ := set $workload "volumeClaimTemplates" . }}{{ end }}
{{- $_ := set $workload "template" (include "asya-actor.template" . | fromJson) }}
{{- toJson $workload }}
{{- end }}

{{- define "asya-actor.asyncactor" -}}
{{- $values := .Values }}
{{- $spec := include "asya-actor.pick" (list $values (list "transport" "timeout" "concurrency" "drainTimeout")) | fromJson }}
{{- $runtime := include "asya-actor.pick" (list $values.runtime (list "interpreter" "startupTimeout")) | fromJson }}
{{- if include "asya-actor.hasSource" . }}{{ $_ := set $runtime "sourcePath" (include "asya-actor.sourcePath" .) }}{{ end }}
{{- with $runtime }}{{ $_ := set $spec "runtime" . }}{{ end }}
{{- with include "asya-actor.pick" (list $values.queue (list "type" "deletionPolicy")) | fromJson }}{{ $_ := set $spec "queue" . }}{{ end }}
{{- with include "asya-actor.retry" . | fromJson }}{{ $_ := set $spec "retry" . }}{{ end }}
{{- with include "asya-actor.scaling" . | fromJson }}{{ $_ := set $spec "scaling" . }}{{ end }}
{{- with include "asya-actor.sidecar" . | fromJson }}{{ $_ := set $spec "sidecar" . }}{{ end }}
{{- $_ := set $spec "workload" (include "asya-actor.workload" . | fromJson) }}
{{- $meta := dict "name" (include "asya-actor.name" .) "namespace" .Release.Namespace "labels" (include "asya-actor.labels" . | fromJson) }}
{{- with include "asya-actor.strings" (list $values.annotations .) | fromJson }}{{ $_ := set $meta "annotations" . }}{{ end -}}
apiVersion: asya.sh/v1alpha1
kind: AsyncActor
metadata:
  {{- toYaml $meta | nindent 2 }}
spec:
  {{- toYaml $spec | nindent 2 }}
{{- end }}
