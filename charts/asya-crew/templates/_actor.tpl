{{- /* The two end actors, by the chart asya-actor's own template: actor defaults < the user's values < what the crew fixes. */ -}}

{{- /* Values that place results: environment, volume, mount. */ -}}
{{- define "asya-crew.storage" -}}
{{- $s3 := (.Values.storage).s3 | default dict }}{{ $directory := (.Values.storage).directory | default dict }}
{{- $values := dict }}
{{- if $s3.bucket }}
{{- $env := dict "ASYA_CREW_STORAGE_URL" (printf "s3://%s/%s" $s3.bucket ($s3.prefix | default "" | trimPrefix "/") | trimSuffix "/") }}
{{- with $s3.region }}{{ $_ := set $env "ASYA_CREW_S3_REGION" . }}{{ end }}
{{- with $s3.endpoint }}{{ $_ := set $env "ASYA_CREW_S3_ENDPOINT" . }}{{ end }}
{{- if $s3.pathStyle }}{{ $_ := set $env "ASYA_CREW_S3_PATH_STYLE" "true" }}{{ end }}
{{- if $s3.secretName }}
{{- range $name := list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" }}
{{- $_ := set $env $name (dict "valueFrom" (dict "secretKeyRef" (dict "name" $s3.secretName "key" $name))) }}
{{- end }}
{{- end }}
{{- $_ := set $values "env" $env }}
{{- else if $directory.claimName }}
{{- $path := $directory.path | default "/results" }}
{{- $_ := set $values "env" (dict "ASYA_CREW_STORAGE_URL" (printf "file://%s" $path)) }}
{{- $_ := set $values "volumes" (dict "results" (dict "persistentVolumeClaim" (dict "claimName" $directory.claimName))) }}
{{- $_ := set $values "volumeMounts" (dict "results" (dict "mountPath" $path)) }}
{{- end }}
{{- toJson $values }}
{{- end }}

{{- /* CONTEXT NAME HANDLER USER: the context that asya-actor's templates take */ -}}
{{- define "asya-crew.context" -}}
{{- $context := index . 0 }}{{ $values := $context.Values }}
{{- $labels := dict "asya.sh/role" "end" }}
{{- if not ($values.gateway).enabled }}{{ $_ := set $labels "asya.sh/gateway" "none" }}{{ end }}
{{- $image := merge (dict) (deepCopy ($values.image | default dict)) }}
{{- if not $image.tag }}{{ $_ := set $image "tag" $context.Chart.AppVersion }}{{ end }}
{{- $fixed := merge (include "asya-crew.storage" $context | fromJson) (dict
      "actorName" (index . 1) "handler" (index . 2) "handlerMode" "envelope" "image" $image "labels" $labels
      "source" (dict "files" (dict)) "global" ($values.global | default dict)) }}
{{- $base := deepCopy (index $values "asya-actor" | default dict) }}
{{- toJson (mergeOverwrite $base (deepCopy ((index . 3) | default dict)) $fixed) }}
{{- end }}

{{- define "asya-crew.actor" -}}
{{- include "asya-crew.beside" (append . "asya-actor.asyncactor") -}}
{{- end }}

{{- /* CONTEXT NAME HANDLER USER TEMPLATE: a template of asya-actor for this end actor */ -}}
{{- define "asya-crew.beside" -}}
{{- $context := index . 0 }}
{{- $values := include "asya-crew.context" . | fromJson }}
{{- include (index . 4) (dict "Values" $values "Chart" $context.Chart "Release" $context.Release "Capabilities" $context.Capabilities "Template" $context.Template) -}}
{{- end }}
