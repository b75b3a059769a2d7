{{- /* Objects beside the AsyncActor, for it and for charts that include it. */ -}}

{{- define "asya-actor.pdb" -}}
{{- $pdb := .Values.pdb | default dict }}
{{- if and $pdb.enabled (gt (include "asya-actor.floor" . | int64) 1) -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "asya-actor.name" . }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "asya-actor.labels" . | fromJson | toYaml | nindent 4 }}
spec:
  {{- if not (kindIs "invalid" $pdb.minAvailable) }}
  minAvailable: {{ toJson $pdb.minAvailable }}
  {{- else if not (kindIs "invalid" $pdb.maxUnavailable) }}
  maxUnavailable: {{ toJson $pdb.maxUnavailable }}
  {{- end }}
  {{- with $pdb.unhealthyPodEvictionPolicy }}
  unhealthyPodEvictionPolicy: {{ . }}
  {{- end }}
  selector:
    matchLabels:
      asya.sh/actor: {{ include "asya-actor.name" . }}
{{- end }}
{{- end }}

{{- define "asya-actor.podmonitor" -}}
{{- $monitor := .Values.podMonitor | default dict }}
{{- if and $monitor.enabled (include "asya-actor.renders" (list ($monitor.renderMode | default "skipIfMissing") "monitoring.coreos.com/v1" .)) -}}
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: {{ include "asya-actor.name" . }}
  namespace: {{ .Release.Namespace }}
  labels:
    {{- toYaml (merge (include "asya-actor.labels" . | fromJson) (include "asya-actor.strings" (list $monitor.labels .) | fromJson)) | nindent 4 }}
spec:
  selector:
    matchLabels:
      asya.sh/actor: {{ include "asya-actor.name" . }}
  podMetricsEndpoints:
    - port: asya-metrics
      path: /metrics
      interval: {{ $monitor.interval | default "30s" }}
      relabelings:
        - {sourceLabels: [__meta_kubernetes_pod_label_asya_sh_flow], targetLabel: flow}
        - {sourceLabels: [__meta_kubernetes_pod_label_asya_sh_role], targetLabel: role}
{{- end }}
{{- end }}
