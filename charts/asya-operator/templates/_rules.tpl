{{- /* What the operator may do where it serves actors. */ -}}
{{- define "asya-operator.rules" -}}
- apiGroups: [asya.sh]
  resources: [asyncactors]
  verbs: [get, list, watch, patch]
- apiGroups: [asya.sh]
  resources: [asyncactors/status]
  verbs: [patch]
- apiGroups: [asya.sh]
  resources: [asyncactors/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [keda.sh]
  resources: [scaledobjects, triggerauthentications]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- end }}

{{- define "asya-operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "asya-operator.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}
