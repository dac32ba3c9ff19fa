{{/*
The rights that wva needs, each with its reason. Watching is list and watch, not get: whole kinds are watched, single objects are
never asked for. None of the kinds that a cluster lacks has to be there.
*/}}

{{/* About model servers, in the namespaces where they are. */}}
{{- define "wva.rights.fleet" -}}
# The replicas of each variant: which serve, which are pending for want of a device, where their metrics are.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
{{- if and .Values.exchange.enabled .Values.exchange.deletionCost }}
# The deletion cost of pods that leave next: Kubernetes takes away those that endpoint pickers send nothing new.
- apiGroups: [""]
  resources: [pods]
  verbs: [patch]
{{- end }}
# Devices that a namespace may ask for at most.
- apiGroups: [""]
  resources: [resourcequotas]
  verbs: [list, watch]
# The workloads that are variants: model, accelerator and engine settings stand in their pod templates.
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [list, watch]
# Variants of several pods a replica.
- apiGroups: [leaderworkerset.x-k8s.io]
  resources: [leaderworkersets]
  verbs: [list, watch]
# HPAs that are opted in, their bounds and tolerance; and all others, so that no target gets two scalers.
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list, watch]
# ScaledObjects of KEDA, for the same two reasons.
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [list, watch]
# Pools of model servers: what is behind one gets advice without being opted in.
- apiGroups: [inference.networking.k8s.io, inference.networking.x-k8s.io]
  resources: [inferencepools]
  verbs: [list, watch]
# Variants that are custom resources.
- apiGroups: [llmd.ai]
  resources: [variantautoscalings]
  verbs: [list, watch]
# What was decided about them, and why. Their spec is never written.
- apiGroups: [llmd.ai]
  resources: [variantautoscalings/status]
  verbs: [patch]
# Latency promises.
- apiGroups: [wva.llmd.ai]
  resources: [serviceclasses]
  verbs: [list, watch]
# What happened to a variant, told where its owner looks. Patching counts repetitions.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- if .Values.directScaling.enabled }}
# The replicas of targets that no HPA and no ScaledObject owns; nothing else of the workload can be changed by this.
- apiGroups: [apps]
  resources: [deployments/scale, statefulsets/scale]
  verbs: [get, patch]
# The same for LeaderWorkerSets.
- apiGroups: [leaderworkerset.x-k8s.io]
  resources: [leaderworkersets/scale]
  verbs: [get, patch]
{{- range .Values.directScaling.extraTargets }}
# The same for a kind that the values name in directScaling.extraTargets.
- apiGroups: [{{ .apiGroup | quote }}]
  resources: [{{ printf "%s/scale" .resource | quote }}]
  verbs: [get, patch]
{{- end }}
{{- end }}
{{- end }}

{{/* About what has no namespace. */}}
{{- define "wva.rights.cluster" -}}
# Devices: which there are, how many, and whether their node is well.
- apiGroups: [""]
  resources: [nodes]
  verbs: [list, watch]
# Labels that leave a namespace alone or give it to another installation.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [list, watch]
# Prices of devices, and limits of the fleet as a whole.
- apiGroups: [wva.llmd.ai]
  resources: [accelerators, fleetpolicies]
  verbs: [list, watch]
{{- end }}

{{/* About the installation itself, in its own namespace. */}}
{{- define "wva.rights.own" -}}
# Leadership: only the holder of this Lease writes.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "wva.fullname" . }}]
  verbs: [get, update]
# The Lease is made by the first process. Making cannot be limited to a name: there is none yet to compare with.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
# What was learned about variants, so that a restart does not begin at nothing.
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [{{ include "wva.fullname" . }}-state]
  verbs: [get, patch]
# That ConfigMap is made by the first leader; as with the Lease, no name can be asked for.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [create]
# Service classes, prices and thresholds of an old installation, which lie in ConfigMaps of several names.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [list, watch]
{{- $here := or (not .Values.scope.namespaces) (has .Release.Namespace .Values.scope.namespaces) }}
{{- if not (and .Values.exchange.enabled .Values.exchange.deletionCost $here) }}
# The label by which the Service finds the leader. Names of pods are not known beforehand. Where deletion costs are set in this
# namespace, too, that right is enough.
- apiGroups: [""]
  resources: [pods]
  verbs: [patch]
{{- end }}
{{- if and .Values.externalMetrics.enabled (eq .Values.certificates.source "controller") }}
# The authority for the serving certificate, shared by the replicas. The Secret comes with the chart, so none need be made.
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ include "wva.certificateSecret" . }}]
  verbs: [get, update]
{{- end }}
{{- end }}

{{/* About how the API server reaches us. */}}
{{- define "wva.rights.serving" -}}
# Tells the API server by which authority to verify us, and nothing about any other APIService.
- apiGroups: [apiregistration.k8s.io]
  resources: [apiservices]
  resourceNames: [v1beta1.external.metrics.k8s.io]
  verbs: [get, patch]
{{- end }}

{{/* What the endpoint picker reads, in the namespace of its pool. It writes nothing. */}}
{{- define "wva.rights.picker" -}}
# The model servers: which are ready, at which addresses, with which labels.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
# Its own pool: labels of the pods, and their ports. No other pool.
- apiGroups: [inference.networking.k8s.io, inference.networking.x-k8s.io]
  resources: [inferencepools]
  resourceNames: [{{ include "wva.poolName" . }}]
  verbs: [list, watch]
# Priorities of requests, and models that are asked for instead of others.
- apiGroups: [llm-d.ai, inference.networking.x-k8s.io]
  resources: [inferenceobjectives, inferencemodelrewrites]
  verbs: [list, watch]
{{- end }}
