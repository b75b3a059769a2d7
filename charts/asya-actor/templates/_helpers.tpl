{{- /* Names, labels, image. */ -}}

{{- /* The actor's name; right under an alias too. */ -}}
{{- define "asya-actor.name" -}}
{{- default (ternary .Release.Name .Chart.Name (.Chart.IsRoot | default false)) .Values.actorName -}}
{{- end }}

{{- /* Whether handler code comes from the values. */ -}}
{{- define "asya-actor.hasSource" -}}
{{- range $path, $text := (.Values.source).files }}{{ if not (kindIs "invalid" $text) }}true{{ end }}{{ end -}}
{{- end }}

{{- define "asya-actor.image" -}}
{{- $image := .Values.image | default dict }}
{{- if and (not $image.repository) (include "asya-actor.hasSource" .) }}
{{- if (.Values.source).image }}{{ .Values.source.image }}
{{- else }}{{ include "asya-actor.reference" (list (dict "registry" $image.registry "repository" "asya/runtime" "digest" (.Values.source).digest) .Values.global .Chart.AppVersion) }}{{ end }}
{{- else }}{{ include "asya-actor.reference" (list $image .Values.global "") }}{{ end }}
{{- end }}

{{- /* The version that app.kubernetes.io/version shows: that of the user's image. */ -}}
{{- define "asya-actor.version" -}}
{{- $image := .Values.image | default dict }}
{{- include "asya-actor.labelValue" (toString (coalesce $image.tag $image.digest .Chart.AppVersion)) -}}
{{- end }}

{{- /* Recommended labels; the user's may change component and part-of. */ -}}
{{- define "asya-actor.labels" -}}
{{- $fixed := dict
      "app.kubernetes.io/name" "asya-actor"
      "app.kubernetes.io/instance" .Release.Name
      "app.kubernetes.io/version" (include "asya-actor.version" .)
      "app.kubernetes.io/managed-by" .Release.Service
      "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
      "asya.sh/actor" (include "asya-actor.name" .) }}
{{- $user := include "asya-actor.strings" (list .Values.labels .) | fromJson }}
{{- toJson (merge $fixed $user (dict "app.kubernetes.io/component" "actor" "app.kubernetes.io/part-of" "asya")) -}}
{{- end }}

{{- /* Pods that always run. */ -}}
{{- define "asya-actor.floor" -}}
{{- $scaling := .Values.scaling | default dict }}
{{- if eq (toString $scaling.enabled) "false" }}{{ int64 ($scaling.replicas | default 0) }}{{ else }}{{ int64 $scaling.minReplicas }}{{ end }}
{{- end }}
