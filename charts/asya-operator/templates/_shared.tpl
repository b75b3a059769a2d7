{{- /*
What every chart does alike. asya-operator is the chart's name. Lists are built as data and printed once, so that quoting and indentation are right
by construction; a map is walked in key order, and null removes its entry. Templates hand data to one another as JSON, which Helm reads and
writes many times faster than YAML.
*/ -}}

{{- /* TEXT CONTEXT: TEXT, rendered if there is something to render */ -}}
{{- define "asya-operator.text" -}}
{{- $text := index . 0 -}}
{{- if contains "{{" $text }}{{ tpl $text (index . 1) }}{{ else }}{{ $text }}{{ end -}}
{{- end }}

{{- /* DATA CONTEXT: DATA as JSON, its texts rendered; as YAML before, where a text stands without the backslashes of JSON */ -}}
{{- define "asya-operator.object" -}}
{{- $json := toJson (index . 0) -}}
{{- if contains "{{" $json }}{{ tpl (toYaml (index . 0)) (index . 1) | fromYaml | toJson }}{{ else }}{{ $json }}{{ end -}}
{{- end }}

{{- /* MAP CONTEXT: {name: text} without nulls, its texts rendered */ -}}
{{- define "asya-operator.strings" -}}
{{- $context := index . 1 }}{{ $out := dict }}
{{- range $key, $value := (index . 0) | default dict }}
{{- if not (kindIs "invalid" $value) }}{{ $_ := set $out $key (include "asya-operator.text" (list (toString $value) $context)) }}{{ end }}
{{- end }}{{ toJson $out }}
{{- end }}

{{- /* MAP CONTEXT: {a: {x: 1}} as [{name: a, x: 1}]; an entry may give another name */ -}}
{{- define "asya-operator.named" -}}
{{- $map := (index . 0) | default dict }}{{ $context := index . 1 }}{{ $out := list }}
{{- range $key := keys $map | sortAlpha }}{{ $value := index $map $key }}
{{- if not (kindIs "invalid" $value) }}
{{- $out = append $out (merge (include "asya-operator.object" (list $value $context) | fromJson) (dict "name" $key)) }}
{{- end }}
{{- end }}{{ toJson $out }}
{{- end }}

{{- /* MAP CONTEXT: the values alone, for Kubernetes' lists without names */ -}}
{{- define "asya-operator.values" -}}
{{- $map := (index . 0) | default dict }}{{ $context := index . 1 }}{{ $out := list }}
{{- range $key := keys $map | sortAlpha }}{{ $value := index $map $key }}
{{- if not (kindIs "invalid" $value) }}{{ $out = append $out (include "asya-operator.object" (list $value $context) | fromJson) }}{{ end }}
{{- end }}{{ toJson $out }}
{{- end }}

{{- /* MAP: the names whose value is true, sorted */ -}}
{{- define "asya-operator.chosen" -}}
{{- $map := . | default dict }}{{ $out := list }}
{{- range $key := keys $map | sortAlpha }}{{ if index $map $key }}{{ $out = append $out $key }}{{ end }}{{ end }}{{ toJson $out }}
{{- end }}

{{- /* MAP CONTEXT: environment variables; a scalar is the text that JSON has for it, a text itself */ -}}
{{- define "asya-operator.env" -}}
{{- $map := (index . 0) | default dict }}{{ $context := index . 1 }}{{ $out := list }}
{{- range $key := keys $map | sortAlpha }}{{ $value := index $map $key }}
{{- if kindIs "map" $value }}{{ $out = append $out (merge (dict "name" $key) (include "asya-operator.object" (list $value $context) | fromJson)) }}
{{- else if kindIs "string" $value }}{{ $out = append $out (dict "name" $key "value" (include "asya-operator.text" (list $value $context))) }}
{{- else if not (kindIs "invalid" $value) }}{{ $out = append $out (dict "name" $key "value" (toJson $value)) }}{{ end }}
{{- end }}{{ toJson $out }}
{{- end }}

{{- /* MAP KEYS: the entries of MAP with these keys that are set; 0 and false are */ -}}
{{- define "asya-operator.pick" -}}
{{- $map := (index . 0) | default dict }}{{ $out := dict }}
{{- range $key := index . 1 }}{{ $value := index $map $key }}
{{- if or $value (kindIs "bool" $value) (kindIs "float64" $value) (kindIs "int64" $value) (kindIs "int" $value) }}{{ $_ := set $out $key $value }}{{ end }}
{{- end }}{{ toJson $out }}
{{- end }}

{{- /* IMAGE GLOBAL APPVERSION: reference of an image; APPVERSION takes the place of an empty tag */ -}}
{{- define "asya-operator.reference" -}}
{{- $image := (index . 0) | default dict }}{{ $global := (index . 1) | default dict }}
{{- $registry := $global.imageRegistry | default $image.registry }}{{ $reference := $image.repository | default "" }}
{{- if $registry }}{{ $reference = printf "%s/%s" (trimSuffix "/" $registry) $reference }}{{ end }}
{{- if $image.digest }}{{ printf "%s@%s" $reference $image.digest }}{{ else }}{{ printf "%s:%s" $reference ($image.tag | default (index . 2)) }}{{ end }}
{{- end }}

{{- /* TEXT: as the value of a label: at most 63 of A-Za-z0-9._-, letters or digits at both ends */ -}}
{{- define "asya-operator.labelValue" -}}
{{- regexReplaceAll "[^A-Za-z0-9]+$" (regexReplaceAll "^[^A-Za-z0-9]+" (regexReplaceAll "[^A-Za-z0-9._-]" . "_" | trunc 63) "") "" -}}
{{- end }}

{{- /* VALUES CONTEXT: the part of a pod's spec that all pods have alike; containers are the caller's */ -}}
{{- define "asya-operator.pod" -}}
{{- $values := index . 0 }}{{ $context := index . 1 }}
{{- $pod := include "asya-operator.pick" (list $values (list "priorityClassName" "runtimeClassName" "schedulerName" "dnsPolicy" "terminationGracePeriodSeconds")) | fromJson }}
{{- with include "asya-operator.strings" (list $values.nodeSelector $context) | fromJson }}{{ $_ := set $pod "nodeSelector" . }}{{ end }}
{{- range $key := list "affinity" "dnsConfig" }}
{{- with index $values $key }}{{ $_ := set $pod $key (include "asya-operator.object" (list . $context) | fromJson) }}{{ end }}
{{- end }}
{{- with $values.podSecurityContext }}{{ $_ := set $pod "securityContext" (include "asya-operator.object" (list . $context) | fromJson) }}{{ end }}
{{- range $key := list "tolerations" "topologySpreadConstraints" }}
{{- with include "asya-operator.values" (list (index $values $key) $context) | fromJsonArray }}{{ $_ := set $pod $key . }}{{ end }}
{{- end }}
{{- $aliases := list }}
{{- range $ip := keys ($values.hostAliases | default dict) | sortAlpha }}
{{- with index $values.hostAliases $ip }}{{ $aliases = append $aliases (dict "ip" $ip "hostnames" .) }}{{ end }}
{{- end }}
{{- with $aliases }}{{ $_ := set $pod "hostAliases" . }}{{ end }}
{{- range $key, $source := dict "volumes" "volumes" "initContainers" "initContainers" }}
{{- with include "asya-operator.named" (list (index $values $source) $context) | fromJsonArray }}{{ $_ := set $pod $key . }}{{ end }}
{{- end }}
{{- toJson $pod }}
{{- end }}

{{- /* NAMES GLOBAL: imagePullSecrets */ -}}
{{- define "asya-operator.pullSecrets" -}}
{{- $out := list }}
{{- $all := merge (dict) (deepCopy ((index . 0) | default dict)) (deepCopy (((index . 1) | default dict).imagePullSecrets | default dict)) }}
{{- range $name := include "asya-operator.chosen" $all | fromJsonArray }}{{ $out = append $out (dict "name" $name) }}{{ end }}{{ toJson $out }}
{{- end }}

{{- /* RENDERMODE API CONTEXT: "true" if an object of API is to be rendered */ -}}
{{- define "asya-operator.renders" -}}
{{- $mode := index . 0 }}{{ $api := index . 1 }}{{ $context := index . 2 }}
{{- $known := $context.Capabilities.APIVersions.Has $api }}
{{- if and (eq $mode "failIfMissing") (not $known) }}{{ fail (printf "asya-operator: the cluster does not know %s; install what defines it, or set renderMode to skipIfMissing" $api) }}{{ end }}
{{- if or $known (eq $mode "alwaysRender") }}true{{ end }}
{{- end }}

{{- /* OBJECTS CONTEXT LABELS: extra objects, an object or text each, with our labels and the release's namespace unless they have their own */ -}}
{{- define "asya-operator.extraObjects" -}}
{{- $map := (index . 0) | default dict }}{{ $context := index . 1 }}{{ $labels := index . 2 }}
{{- range $key := keys $map | sortAlpha }}{{ $value := index $map $key }}
{{- if not (kindIs "invalid" $value) }}
{{- $text := ternary $value (toYaml $value) (kindIs "string" $value) }}
{{- $object := include "asya-operator.text" (list $text $context) | fromYaml }}
{{- if and (hasKey $object "Error") (not (hasKey $object "kind")) }}{{ fail (printf "asya-operator: extraObjects.%s is no YAML object: %s" $key $object.Error) }}{{ end }}
{{- $meta := $object.metadata | default dict }}
{{- $_ := set $meta "labels" (merge (dict) ($meta.labels | default dict) $labels) }}
{{- $_ := set $object "metadata" $meta }}
---
{{ toYaml $object }}
{{- end }}
{{- end }}
{{- end }}

{{- /* DURATION: whole milliseconds, as text */ -}}
{{- define "asya-operator.milliseconds" -}}
{{- $unit := index (dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000) (regexFind "[a-z]+$" .) }}
{{- mul (regexFind "^[0-9]+" . | int64) ($unit | default 0) -}}
{{- end }}

{{- /* PROBLEMS CONTEXT: stop with all of them at once; each is a line "- what; what to do instead" */ -}}
{{- define "asya-operator.stop" -}}
{{- $problems := index . 0 | trim }}{{ $context := index . 1 }}
{{- if $problems }}{{ fail (printf "\n\n%s %s cannot be rendered:\n%s\n" $context.Chart.Name $context.Release.Name $problems) }}{{ end }}
{{- end }}

{{- /* WHERE ENV PATTERN CONTEXT: problems of a map of environment variables; PATTERN: names that may begin with ASYA_ */ -}}
{{- define "asya-operator.envProblems" -}}
{{- $where := index . 0 }}{{ $pattern := index . 2 }}
{{- range $name, $value := (index . 1) | default dict }}
{{- if and (hasPrefix "ASYA_" $name) (or (eq $name "ASYA_HANDLER_MODE") (not (regexMatch $pattern $name))) }}
- {{ $where }}.{{ $name }} belongs to Asya; use handler, handlerMode, timeout or concurrency of the values instead
{{- end }}
{{- if not (or (kindIs "string" $value) (kindIs "bool" $value) (kindIs "map" $value) (kindIs "invalid" $value)) }}
{{- if or (ge (float64 $value) 9007199254740992.0) (le (float64 $value) -9007199254740992.0) }}
- {{ $where }}.{{ $name }} is a number of 2^53 or more, which Helm does not keep exactly; quote it
{{- end }}
{{- end }}
{{- end }}
{{- end }}
