{{- /* The pod template of the AsyncActor: what the user chose of it. The operator adds the rest. */ -}}

{{- /* Directory of source.files in the container. */ -}}
{{- define "asya-actor.sourcePath" -}}
/opt/asya-source
{{- end }}

{{- /* Key of a source file in its ConfigMap, which may hold no slash. */ -}}
{{- define "asya-actor.sourceKey" -}}
{{ printf "%s-%s" (sha256sum . | trunc 8) (regexReplaceAll "[^-._a-zA-Z0-9]" (base .) "_" | trunc 200) }}
{{- end }}

{{- /* The files of the values without removed ones, as JSON. */ -}}
{{- define "asya-actor.sourceFiles" -}}
{{- $files := dict }}
{{- range $path, $text := (.Values.source).files }}{{ if not (kindIs "invalid" $text) }}{{ $_ := set $files $path $text }}{{ end }}{{ end -}}
{{ toJson $files }}
{{- end }}

{{- define "asya-actor.handlerContainer" -}}
{{- $values := .Values }}
{{- $env := list (dict "name" "ASYA_HANDLER" "value" ($values.handler | default "")) (dict "name" "ASYA_HANDLER_MODE" "value" ($values.handlerMode | default "payload")) }}
{{- $env = concat $env (include "asya-actor.env" (list $values.env .) | fromJsonArray) }}
{{- $container := dict "name" "asya-runtime" "image" (include "asya-actor.image" .) "env" $env }}
{{- with ($values.image).pullPolicy }}{{ $_ := set $container "imagePullPolicy" . }}{{ end }}
{{- with include "asya-actor.values" (list $values.envFrom .) | fromJsonArray }}{{ $_ := set $container "envFrom" . }}{{ end }}
{{- $resources := dict }}
{{- range $key := list "requests" "limits" }}
{{- $quantities := dict }}
{{- range $name, $quantity := index ($values.resources | default dict) $key }}
{{- if not (kindIs "invalid" $quantity) }}{{ $_ := set $quantities $name $quantity }}{{ end }}
{{- end }}
{{- with $quantities }}{{ $_ := set $resources $key . }}{{ end }}
{{- end }}
{{- with include "asya-actor.named" (list ($values.resources).claims .) | fromJsonArray }}{{ $_ := set $resources "claims" . }}{{ end }}
{{- with $resources }}{{ $_ := set $container "resources" . }}{{ end }}
{{- with $values.securityContext }}{{ $_ := set $container "securityContext" (include "asya-actor.object" (list . $) | fromJson) }}{{ end }}
{{- with $values.workingDir }}{{ $_ := set $container "workingDir" . }}{{ end }}
{{- $mounts := include "asya-actor.named" (list $values.volumeMounts .) | fromJsonArray }}
{{- if include "asya-actor.hasSource" . }}
{{- $mounts = append $mounts (dict "name" "source" "mountPath" (include "asya-actor.sourcePath" .) "readOnly" true) }}
{{- end }}
{{- with $mounts }}{{ $_ := set $container "volumeMounts" . }}{{ end }}
{{- toJson $container }}
{{- end }}

{{- define "asya-actor.template" -}}
{{- $values := .Values }}
{{- $labels := include "asya-actor.strings" (list (merge (dict) (deepCopy ($values.podLabels | default dict)) (deepCopy ($values.labels | default dict))) .) | fromJson }}
{{- $annotations := include "asya-actor.strings" (list $values.podAnnotations .) | fromJson }}
{{- $pod := include "asya-actor.pod" (list $values .) | fromJson }}
{{- if include "asya-actor.hasSource" . }}
{{- $files := include "asya-actor.sourceFiles" . | fromJson }}
{{- $_ := set $annotations "checksum/source" (toJson $files | sha256sum) }}
{{- $items := list }}
{{- range $path := keys $files | sortAlpha }}{{ $items = append $items (dict "key" (include "asya-actor.sourceKey" $path) "path" $path) }}{{ end }}
{{- $volume := dict "name" "source" "configMap" (dict "name" (printf "%s-source" (include "asya-actor.name" .)) "items" $items) }}
{{- $_ := set $pod "volumes" (append ($pod.volumes | default list) $volume) }}
{{- end }}
{{- $containers := list (include "asya-actor.handlerContainer" . | fromJson) }}
{{- $_ := set $pod "containers" (concat $containers (include "asya-actor.named" (list $values.extraContainers .) | fromJsonArray)) }}
{{- with ($values.serviceAccount).name }}{{ $_ := set $pod "serviceAccountName" . }}{{ end }}
{{- if ($values.serviceAccount).automountToken }}{{ $_ := set $pod "automountServiceAccountToken" true }}{{ end }}
{{- with include "asya-actor.pullSecrets" (list ($values.image).pullSecrets $values.global) | fromJsonArray }}{{ $_ := set $pod "imagePullSecrets" . }}{{ end }}
{{- $template := dict "spec" $pod }}
{{- $meta := dict }}
{{- with $labels }}{{ $_ := set $meta "labels" . }}{{ end }}
{{- with $annotations }}{{ $_ := set $meta "annotations" . }}{{ end }}
{{- with $meta }}{{ $_ := set $template "metadata" . }}{{ end }}
{{- toJson $template }}
{{- end }}
