{{- /*
Contradictions that the schema cannot see. All are gathered and told at once; each line names the value and the remedy. `helm lint` ignores
`fail`, so the templates stay valid without it.
*/ -}}

{{- define "asya-actor.validate" -}}
{{- include "asya-actor.stop" (list (include "asya-actor.problems" .) .) -}}
{{- end }}

{{- define "asya-actor.problems" -}}
{{- include "asya-actor.identityProblems" . }}
{{- include "asya-actor.timeProblems" . }}
{{- include "asya-actor.scalingProblems" . }}
{{- include "asya-actor.envProblems" (list "env" .Values.env "^ASYA_(HANDLER|FLOW|CREW)_[A-Z0-9_]+$") }}
{{- include "asya-actor.podProblems" . }}
{{- end }}

{{- define "asya-actor.identityProblems" -}}
{{- $values := .Values }}{{ $image := $values.image | default dict }}
{{- $name := include "asya-actor.name" . }}
{{- $most := ternary 52 53 (eq (toString ($values.workload).kind) "StatefulSet") }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $name) }}
- actor name {{ $name }} is not legal; name the release with a-z, 0-9 and '-', first a letter, or set actorName
{{- else if gt (len $name) $most }}
- actor name {{ $name }} has {{ len $name }} characters, {{ $most }} are allowed{{ if eq $most 52 }} for a StatefulSet{{ end }}; choose a shorter release name, or set actorName
{{- end }}
{{- if eq $name "mode" }}
- actor name mode would need the variable ASYA_HANDLER_MODE, which is Asya's own; choose another
{{- end }}
{{- if not $values.handler }}
- handler is not set; set it to module.function or module.Class.method
{{- else if not (regexMatch `^[\p{L}_][\p{L}\p{N}_]*(\.[\p{L}_][\p{L}\p{N}_]*)+$` $values.handler) }}
- handler {{ $values.handler | quote }} is no dotted path; write module.function or module.Class.method
{{- end }}
{{- if not (or $image.repository (include "asya-actor.hasSource" .)) }}
- image.repository is not set; set image.repository and image.tag, or give the handler's code in source.files
{{- else if $image.repository }}
{{- if regexMatch "[:@][^/]*$" $image.repository }}
- image.repository {{ $image.repository | quote }} holds a tag or digest; put it into image.tag or image.digest
{{- else if not (or $image.tag $image.digest) }}
- image.tag is not set; set image.tag or image.digest, the chart cannot know the version of your image
{{- end }}
{{- end }}
{{- range $where := list "labels" "podLabels" }}
{{- if hasKey (index $values $where | default dict) "asya.sh/actor" }}
- {{ $where }}: the label asya.sh/actor is Asya's own, pods are found by it; remove it
{{- end }}
{{- end }}
{{- end }}

{{- define "asya-actor.timeProblems" -}}
{{- with .Values.timeout }}
{{- $limit := ternary 11 24 (eq (toString $.Values.transport) "sqs") }}
{{- $time := include "asya-actor.milliseconds" . | int64 }}
{{- if or (lt $time 1000) (gt $time (int64 (mul $limit 3600000))) }}
- timeout {{ . }} is out of bounds; choose 1s to {{ $limit }}h{{ if eq $limit 11 }}, as a message on sqs cannot stay in flight for more than 12h{{ end }}
{{- end }}
{{- end }}
{{- with .Values.drainTimeout }}
{{- if gt (include "asya-actor.milliseconds" . | int64) 604800000 }}
- drainTimeout {{ . }} is out of bounds; choose at most 168h, or 0s for none
{{- end }}
{{- end }}
{{- end }}

{{- define "asya-actor.scalingProblems" -}}
{{- $scaling := .Values.scaling | default dict }}
{{- $enabled := ne (toString $scaling.enabled) "false" }}
{{- if gt (int64 $scaling.minReplicas) (int64 ($scaling.maxReplicas | default 10)) }}
- scaling.minReplicas {{ int64 $scaling.minReplicas }} is above scaling.maxReplicas {{ int64 ($scaling.maxReplicas | default 10) }}; raise the one or lower the other
{{- end }}
{{- if and $enabled (hasKey $scaling "replicas") (ne (toString $scaling.replicas) "1") }}
- scaling.replicas {{ int64 $scaling.replicas }} has no effect while KEDA scales; set scaling.minReplicas, or scaling.enabled to false
{{- end }}
{{- if and $scaling.paused (not $enabled) }}
- scaling.paused needs scaling.enabled; set scaling.replicas instead
{{- end }}
{{- if and (not (kindIs "invalid" $scaling.pausedReplicas)) (not $scaling.paused) }}
- scaling.pausedReplicas is set, but scaling.paused is false; set it to true, or remove pausedReplicas
{{- end }}
{{- range $name, $trigger := $scaling.extraTriggers }}
{{- if or (eq $name "queue") (hasPrefix "prewarm-" $name) }}
- scaling.extraTriggers.{{ $name }}: the names queue and prewarm-* belong to the operator; choose another
{{- else if and (not (kindIs "invalid" $trigger)) (not ($trigger).type) }}
- scaling.extraTriggers.{{ $name }}.type is not set; set it to the name of one of KEDA's scalers, such as cron
{{- end }}
{{- end }}
{{- $pdb := .Values.pdb | default dict }}
{{- if and $pdb.enabled (not (kindIs "invalid" $pdb.minAvailable)) (not (kindIs "invalid" $pdb.maxUnavailable)) }}
- pdb.minAvailable and pdb.maxUnavailable are both set; set one of them to null
{{- else if and $pdb.enabled (kindIs "invalid" $pdb.minAvailable) (kindIs "invalid" $pdb.maxUnavailable) }}
- pdb has neither minAvailable nor maxUnavailable; set one of them
{{- end }}
{{- end }}

{{- define "asya-actor.podProblems" -}}
{{- $values := .Values }}{{ $workload := $values.workload | default dict }}
{{- if and $workload.volumeClaimTemplates (ne (toString $workload.kind) "StatefulSet") }}
- workload.volumeClaimTemplates needs workload.kind: StatefulSet; set it, or use volumes
{{- end }}
{{- $known := merge (dict) ($values.volumes | default dict) ($workload.volumeClaimTemplates | default dict) }}
{{- range $name, $volume := $known }}
{{- if hasPrefix "asya-" $name }}
- volume {{ $name }}: names that begin with asya- belong to the operator; choose another
{{- else if and (eq $name "source") (include "asya-actor.hasSource" $) }}
- volume source is that of source.files; choose another name
{{- end }}
{{- end }}
{{- range $key, $mount := $values.volumeMounts }}
{{- if not (kindIs "invalid" $mount) }}
{{- $name := $mount.name | default $key }}
{{- if kindIs "invalid" (index $known $name) }}
- volumeMounts.{{ $key }}: there is no volume {{ $name }}; add it to volumes, or give the volume's name in volumeMounts.{{ $key }}.name
{{- end }}
{{- end }}
{{- end }}
{{- range $where := list "initContainers" "extraContainers" }}
{{- range $name := list "asya-runtime" "asya-sidecar" }}
{{- if hasKey (index $values $where | default dict) $name }}
- {{ $where }}.{{ $name }}: this name belongs to the operator; choose another
{{- end }}
{{- end }}
{{- end }}
{{- $bytes := 0 }}
{{- range $path, $text := ($values.source).files }}{{ $bytes = add $bytes (len (toString $text)) }}{{ end }}
{{- if gt (int64 $bytes) 921600 }}
- source.files holds {{ $bytes }} bytes, 921600 (900 KiB) are allowed; build an image instead
{{- end }}
{{- end }}
