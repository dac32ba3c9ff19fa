{{/* What objects are called, and the labels that all of them have. */}}

{{- define "wva.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The release's name, unless it says wva already. Room is left for suffixes. */}}
{{- define "wva.fullname" -}}
{{- $name := include "wva.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 45 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 45 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Objects without a namespace carry the release's, so that two installations do not share them. */}}
{{- define "wva.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "wva.fullname" .) }}
{{- end }}

{{- define "wva.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "wva.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name: name the account, since serviceAccount.create is off" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "wva.selectorLabels" -}}
app.kubernetes.io/name: {{ include "wva.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "wva.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "wva.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "wva.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* The Secret with the authority that wva makes, or with the certificate that somebody else does. */}}
{{- define "wva.certificateSecret" -}}
{{- if eq .Values.certificates.source "secret" }}
{{- .Values.certificates.secret.name }}
{{- else if eq .Values.certificates.source "cert-manager" }}
{{- printf "%s-serving" (include "wva.fullname" .) }}
{{- else }}
{{- printf "%s-authority" (include "wva.fullname" .) }}
{{- end }}
{{- end }}

{{/* Names that the serving certificate must carry, as a YAML list: the first is what the API server asks for. */}}
{{- define "wva.servingNames" -}}
{{- $host := printf "%s.%s" (include "wva.fullname" .) .Release.Namespace }}
- {{ $host }}.svc
- {{ $host }}
- {{ $host }}.svc.cluster.local
{{- end }}

{{/* Whether a certificate is mounted as files. */}}
{{- define "wva.certificateFiles" -}}
{{- if and (ne .Values.certificates.source "controller") (or .Values.externalMetrics.enabled (and .Values.keda.enabled .Values.keda.tls) (and .Values.exchange.enabled .Values.exchange.tls)) }}true{{ end }}
{{- end }}

{{/* The endpoint picker has labels of its own, so that no Service takes it for a controller. */}}
{{- define "wva.epp.selectorLabels" -}}
app.kubernetes.io/name: {{ include "wva.name" . }}-epp
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "wva.epp.labels" -}}
{{ include "wva.labels" . | replace (include "wva.selectorLabels" .) (include "wva.epp.selectorLabels" .) }}
{{- end }}

{{- define "wva.envoy.selectorLabels" -}}
app.kubernetes.io/name: {{ include "wva.name" . }}-envoy
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "wva.envoy.labels" -}}
{{ include "wva.labels" . | replace (include "wva.selectorLabels" .) (include "wva.envoy.selectorLabels" .) }}
{{- end }}

{{/* The pool that the endpoint picker picks from. */}}
{{- define "wva.poolName" -}}
{{- default (include "wva.fullname" .) .Values.endpointPicker.pool.name }}
{{- end }}

{{/* The Secret with the token of the exchange, and that of the endpoint picker, in its namespace. */}}
{{- define "wva.exchangeSecret" -}}
{{- default (printf "%s-exchange" (include "wva.fullname" .)) .Values.exchange.tokenSecret.name }}
{{- end }}

{{- define "wva.epp.tokenSecret" -}}
{{- $p := .Values.endpointPicker }}
{{- if $p.controller.tokenSecret.name }}
{{- $p.controller.tokenSecret.name }}
{{- else if .Values.exchange.enabled }}
{{- include "wva.exchangeSecret" . }}
{{- end }}
{{- end }}

{{/* The controller that the endpoint picker tells what arrives; nothing where there is none. */}}
{{- define "wva.epp.controllerUrl" -}}
{{- if .Values.endpointPicker.controller.url }}
{{- .Values.endpointPicker.controller.url }}
{{- else if .Values.exchange.enabled }}
{{- printf "%s://%s.%s.svc:%v" (ternary "https" "http" .Values.exchange.tls) (include "wva.fullname" .) .Release.Namespace .Values.exchange.port }}
{{- end }}
{{- end }}
