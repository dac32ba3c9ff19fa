// @generated from proto/externalscaler.proto. Not to be edited by hand: to make it anew, compile the proto with
// `tonic-prost-build` 0.14 (default settings, file descriptors from `protoc` or from the `protox` crate), and put this
// head back.
/// Who asks: a ScaledObject, with the `metadata` of its trigger.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct ScaledObjectRef {
    /// Name of the ScaledObject.
    #[prost(string, tag = "1")]
    pub name: ::prost::alloc::string::String,
    /// Namespace of the ScaledObject.
    #[prost(string, tag = "2")]
    pub namespace: ::prost::alloc::string::String,
    /// The trigger's `metadata`.
    #[prost(map = "string, string", tag = "3")]
    pub scaler_metadata:
        ::std::collections::HashMap<::prost::alloc::string::String, ::prost::alloc::string::String>,
}
/// Whether the scale target should have any replica.
#[derive(Clone, Copy, PartialEq, Eq, Hash, ::prost::Message)]
pub struct IsActiveResponse {
    /// False lets KEDA scale to zero.
    #[prost(bool, tag = "1")]
    pub result: bool,
}
/// The metrics that KEDA puts into the HPA it makes.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct GetMetricSpecResponse {
    /// The metrics.
    #[prost(message, repeated, tag = "1")]
    pub metric_specs: ::prost::alloc::vec::Vec<MetricSpec>,
}
/// One metric and its target.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct MetricSpec {
    /// Name, without the index that KEDA prepends.
    #[prost(string, tag = "1")]
    pub metric_name: ::prost::alloc::string::String,
    /// Target in whole units, for versions of KEDA that know no other.
    #[prost(int64, tag = "2")]
    pub target_size: i64,
    /// Target; taken where greater than 0.
    #[prost(double, tag = "3")]
    pub target_size_float: f64,
}
/// Asks for a metric's value.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct GetMetricsRequest {
    /// Who asks.
    #[prost(message, optional, tag = "1")]
    pub scaled_object_ref: ::core::option::Option<ScaledObjectRef>,
    /// Name as in the metric's spec.
    #[prost(string, tag = "2")]
    pub metric_name: ::prost::alloc::string::String,
}
/// A metric's values.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct GetMetricsResponse {
    /// The values; the HPA adds them up.
    #[prost(message, repeated, tag = "1")]
    pub metric_values: ::prost::alloc::vec::Vec<MetricValue>,
}
/// One value.
#[derive(Clone, PartialEq, ::prost::Message)]
pub struct MetricValue {
    /// Name as in the metric's spec.
    #[prost(string, tag = "1")]
    pub metric_name: ::prost::alloc::string::String,
    /// Value in whole units, for versions of KEDA that know no other.
    #[prost(int64, tag = "2")]
    pub metric_value: i64,
    /// Value; taken where greater than 0.
    #[prost(double, tag = "3")]
    pub metric_value_float: f64,
}
/// Generated client implementations.
pub mod external_scaler_client {
    #![allow(
        unused_variables,
        dead_code,
        missing_docs,
        clippy::wildcard_imports,
        clippy::let_unit_value
    )]
    use tonic::codegen::http::Uri;
    use tonic::codegen::*;
    #[derive(Debug, Clone)]
    pub struct ExternalScalerClient<T> {
        inner: tonic::client::Grpc<T>,
    }
    impl ExternalScalerClient<tonic::transport::Channel> {
        /// Attempt to create a new client by connecting to a given endpoint.
        pub async fn connect<D>(dst: D) -> Result<Self, tonic::transport::Error>
        where
            D: TryInto<tonic::transport::Endpoint>,
            D::Error: Into<StdError>,
        {
            let conn = tonic::transport::Endpoint::new(dst)?.connect().await?;
            Ok(Self::new(conn))
        }
    }
    impl<T> ExternalScalerClient<T>
    where
        T: tonic::client::GrpcService<tonic::body::Body>,
        T::Error: Into<StdError>,
        T::ResponseBody: Body<Data = Bytes> + std::marker::Send + 'static,
        <T::ResponseBody as Body>::Error: Into<StdError> + std::marker::Send,
    {
        pub fn new(inner: T) -> Self {
            let inner = tonic::client::Grpc::new(inner);
            Self { inner }
        }
        pub fn with_origin(inner: T, origin: Uri) -> Self {
            let inner = tonic::client::Grpc::with_origin(inner, origin);
            Self { inner }
        }
        pub fn with_interceptor<F>(
            inner: T,
            interceptor: F,
        ) -> ExternalScalerClient<InterceptedService<T, F>>
        where
            F: tonic::service::Interceptor,
            T::ResponseBody: Default,
            T: tonic::codegen::Service<
                    http::Request<tonic::body::Body>,
                    Response = http::Response<
                        <T as tonic::client::GrpcService<tonic::body::Body>>::ResponseBody,
                    >,
                >,
            <T as tonic::codegen::Service<http::Request<tonic::body::Body>>>::Error:
                Into<StdError> + std::marker::Send + std::marker::Sync,
        {
            ExternalScalerClient::new(InterceptedService::new(inner, interceptor))
        }
        /// Compress requests with the given encoding.
        ///
        /// This requires the server to support it otherwise it might respond with an
        /// error.
        #[must_use]
        pub fn send_compressed(mut self, encoding: CompressionEncoding) -> Self {
            self.inner = self.inner.send_compressed(encoding);
            self
        }
        /// Enable decompressing responses.
        #[must_use]
        pub fn accept_compressed(mut self, encoding: CompressionEncoding) -> Self {
            self.inner = self.inner.accept_compressed(encoding);
            self
        }
        /// Limits the maximum size of a decoded message.
        ///
        /// Default: `4MB`
        #[must_use]
        pub fn max_decoding_message_size(mut self, limit: usize) -> Self {
            self.inner = self.inner.max_decoding_message_size(limit);
            self
        }
        /// Limits the maximum size of an encoded message.
        ///
        /// Default: `usize::MAX`
        #[must_use]
        pub fn max_encoding_message_size(mut self, limit: usize) -> Self {
            self.inner = self.inner.max_encoding_message_size(limit);
            self
        }
        pub async fn is_active(
            &mut self,
            request: impl tonic::IntoRequest<super::ScaledObjectRef>,
        ) -> std::result::Result<tonic::Response<super::IsActiveResponse>, tonic::Status> {
            self.inner.ready().await.map_err(|e| {
                tonic::Status::unknown(format!("Service was not ready: {}", e.into()))
            })?;
            let codec = tonic_prost::ProstCodec::default();
            let path =
                http::uri::PathAndQuery::from_static("/externalscaler.ExternalScaler/IsActive");
            let mut req = request.into_request();
            req.extensions_mut()
                .insert(GrpcMethod::new("externalscaler.ExternalScaler", "IsActive"));
            self.inner.unary(req, path, codec).await
        }
        pub async fn stream_is_active(
            &mut self,
            request: impl tonic::IntoRequest<super::ScaledObjectRef>,
        ) -> std::result::Result<
            tonic::Response<tonic::codec::Streaming<super::IsActiveResponse>>,
            tonic::Status,
        > {
            self.inner.ready().await.map_err(|e| {
                tonic::Status::unknown(format!("Service was not ready: {}", e.into()))
            })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static(
                "/externalscaler.ExternalScaler/StreamIsActive",
            );
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new(
                "externalscaler.ExternalScaler",
                "StreamIsActive",
            ));
            self.inner.server_streaming(req, path, codec).await
        }
        pub async fn get_metric_spec(
            &mut self,
            request: impl tonic::IntoRequest<super::ScaledObjectRef>,
        ) -> std::result::Result<tonic::Response<super::GetMetricSpecResponse>, tonic::Status>
        {
            self.inner.ready().await.map_err(|e| {
                tonic::Status::unknown(format!("Service was not ready: {}", e.into()))
            })?;
            let codec = tonic_prost::ProstCodec::default();
            let path = http::uri::PathAndQuery::from_static(
                "/externalscaler.ExternalScaler/GetMetricSpec",
            );
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new(
                "externalscaler.ExternalScaler",
                "GetMetricSpec",
            ));
            self.inner.unary(req, path, codec).await
        }
        pub async fn get_metrics(
            &mut self,
            request: impl tonic::IntoRequest<super::GetMetricsRequest>,
        ) -> std::result::Result<tonic::Response<super::GetMetricsResponse>, tonic::Status>
        {
            self.inner.ready().await.map_err(|e| {
                tonic::Status::unknown(format!("Service was not ready: {}", e.into()))
            })?;
            let codec = tonic_prost::ProstCodec::default();
            let path =
                http::uri::PathAndQuery::from_static("/externalscaler.ExternalScaler/GetMetrics");
            let mut req = request.into_request();
            req.extensions_mut().insert(GrpcMethod::new(
                "externalscaler.ExternalScaler",
                "GetMetrics",
            ));
            self.inner.unary(req, path, codec).await
        }
    }
}
/// Generated server implementations.
pub mod external_scaler_server {
    #![allow(
        unused_variables,
        dead_code,
        missing_docs,
        clippy::wildcard_imports,
        clippy::let_unit_value
    )]
    use tonic::codegen::*;
    /// Generated trait containing gRPC methods that should be implemented for use with ExternalScalerServer.
    #[async_trait]
    pub trait ExternalScaler: std::marker::Send + std::marker::Sync + 'static {
        async fn is_active(
            &self,
            request: tonic::Request<super::ScaledObjectRef>,
        ) -> std::result::Result<tonic::Response<super::IsActiveResponse>, tonic::Status>;
        /// Server streaming response type for the StreamIsActive method.
        type StreamIsActiveStream: tonic::codegen::tokio_stream::Stream<
                Item = std::result::Result<super::IsActiveResponse, tonic::Status>,
            > + std::marker::Send
            + 'static;
        async fn stream_is_active(
            &self,
            request: tonic::Request<super::ScaledObjectRef>,
        ) -> std::result::Result<tonic::Response<Self::StreamIsActiveStream>, tonic::Status>;
        async fn get_metric_spec(
            &self,
            request: tonic::Request<super::ScaledObjectRef>,
        ) -> std::result::Result<tonic::Response<super::GetMetricSpecResponse>, tonic::Status>;
        async fn get_metrics(
            &self,
            request: tonic::Request<super::GetMetricsRequest>,
        ) -> std::result::Result<tonic::Response<super::GetMetricsResponse>, tonic::Status>;
    }
    #[derive(Debug)]
    pub struct ExternalScalerServer<T> {
        inner: Arc<T>,
        accept_compression_encodings: EnabledCompressionEncodings,
        send_compression_encodings: EnabledCompressionEncodings,
        max_decoding_message_size: Option<usize>,
        max_encoding_message_size: Option<usize>,
    }
    impl<T> ExternalScalerServer<T> {
        pub fn new(inner: T) -> Self {
            Self::from_arc(Arc::new(inner))
        }
        pub fn from_arc(inner: Arc<T>) -> Self {
            Self {
                inner,
                accept_compression_encodings: Default::default(),
                send_compression_encodings: Default::default(),
                max_decoding_message_size: None,
                max_encoding_message_size: None,
            }
        }
        pub fn with_interceptor<F>(inner: T, interceptor: F) -> InterceptedService<Self, F>
        where
            F: tonic::service::Interceptor,
        {
            InterceptedService::new(Self::new(inner), interceptor)
        }
        /// Enable decompressing requests with the given encoding.
        #[must_use]
        pub fn accept_compressed(mut self, encoding: CompressionEncoding) -> Self {
            self.accept_compression_encodings.enable(encoding);
            self
        }
        /// Compress responses with the given encoding, if the client supports it.
        #[must_use]
        pub fn send_compressed(mut self, encoding: CompressionEncoding) -> Self {
            self.send_compression_encodings.enable(encoding);
            self
        }
        /// Limits the maximum size of a decoded message.
        ///
        /// Default: `4MB`
        #[must_use]
        pub fn max_decoding_message_size(mut self, limit: usize) -> Self {
            self.max_decoding_message_size = Some(limit);
            self
        }
        /// Limits the maximum size of an encoded message.
        ///
        /// Default: `usize::MAX`
        #[must_use]
        pub fn max_encoding_message_size(mut self, limit: usize) -> Self {
            self.max_encoding_message_size = Some(limit);
            self
        }
    }
    impl<T, B> tonic::codegen::Service<http::Request<B>> for ExternalScalerServer<T>
    where
        T: ExternalScaler,
        B: Body + std::marker::Send + 'static,
        B::Error: Into<StdError> + std::marker::Send + 'static,
    {
        type Response = http::Response<tonic::body::Body>;
        type Error = std::convert::Infallible;
        type Future = BoxFuture<Self::Response, Self::Error>;
        fn poll_ready(
            &mut self,
            _cx: &mut Context<'_>,
        ) -> Poll<std::result::Result<(), Self::Error>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, req: http::Request<B>) -> Self::Future {
            match req.uri().path() {
                "/externalscaler.ExternalScaler/IsActive" => {
                    #[allow(non_camel_case_types)]
                    struct IsActiveSvc<T: ExternalScaler>(pub Arc<T>);
                    impl<T: ExternalScaler> tonic::server::UnaryService<super::ScaledObjectRef> for IsActiveSvc<T> {
                        type Response = super::IsActiveResponse;
                        type Future = BoxFuture<tonic::Response<Self::Response>, tonic::Status>;
                        fn call(
                            &mut self,
                            request: tonic::Request<super::ScaledObjectRef>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as ExternalScaler>::is_active(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = IsActiveSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/externalscaler.ExternalScaler/StreamIsActive" => {
                    #[allow(non_camel_case_types)]
                    struct StreamIsActiveSvc<T: ExternalScaler>(pub Arc<T>);
                    impl<T: ExternalScaler>
                        tonic::server::ServerStreamingService<super::ScaledObjectRef>
                        for StreamIsActiveSvc<T>
                    {
                        type Response = super::IsActiveResponse;
                        type ResponseStream = T::StreamIsActiveStream;
                        type Future =
                            BoxFuture<tonic::Response<Self::ResponseStream>, tonic::Status>;
                        fn call(
                            &mut self,
                            request: tonic::Request<super::ScaledObjectRef>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as ExternalScaler>::stream_is_active(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = StreamIsActiveSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.server_streaming(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/externalscaler.ExternalScaler/GetMetricSpec" => {
                    #[allow(non_camel_case_types)]
                    struct GetMetricSpecSvc<T: ExternalScaler>(pub Arc<T>);
                    impl<T: ExternalScaler> tonic::server::UnaryService<super::ScaledObjectRef>
                        for GetMetricSpecSvc<T>
                    {
                        type Response = super::GetMetricSpecResponse;
                        type Future = BoxFuture<tonic::Response<Self::Response>, tonic::Status>;
                        fn call(
                            &mut self,
                            request: tonic::Request<super::ScaledObjectRef>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as ExternalScaler>::get_metric_spec(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = GetMetricSpecSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                "/externalscaler.ExternalScaler/GetMetrics" => {
                    #[allow(non_camel_case_types)]
                    struct GetMetricsSvc<T: ExternalScaler>(pub Arc<T>);
                    impl<T: ExternalScaler> tonic::server::UnaryService<super::GetMetricsRequest> for GetMetricsSvc<T> {
                        type Response = super::GetMetricsResponse;
                        type Future = BoxFuture<tonic::Response<Self::Response>, tonic::Status>;
                        fn call(
                            &mut self,
                            request: tonic::Request<super::GetMetricsRequest>,
                        ) -> Self::Future {
                            let inner = Arc::clone(&self.0);
                            let fut = async move {
                                <T as ExternalScaler>::get_metrics(&inner, request).await
                            };
                            Box::pin(fut)
                        }
                    }
                    let accept_compression_encodings = self.accept_compression_encodings;
                    let send_compression_encodings = self.send_compression_encodings;
                    let max_decoding_message_size = self.max_decoding_message_size;
                    let max_encoding_message_size = self.max_encoding_message_size;
                    let inner = self.inner.clone();
                    let fut = async move {
                        let method = GetMetricsSvc(inner);
                        let codec = tonic_prost::ProstCodec::default();
                        let mut grpc = tonic::server::Grpc::new(codec)
                            .apply_compression_config(
                                accept_compression_encodings,
                                send_compression_encodings,
                            )
                            .apply_max_message_size_config(
                                max_decoding_message_size,
                                max_encoding_message_size,
                            );
                        let res = grpc.unary(method, req).await;
                        Ok(res)
                    };
                    Box::pin(fut)
                }
                _ => Box::pin(async move {
                    let mut response = http::Response::new(tonic::body::Body::default());
                    let headers = response.headers_mut();
                    headers.insert(
                        tonic::Status::GRPC_STATUS,
                        (tonic::Code::Unimplemented as i32).into(),
                    );
                    headers.insert(
                        http::header::CONTENT_TYPE,
                        tonic::metadata::GRPC_CONTENT_TYPE,
                    );
                    Ok(response)
                }),
            }
        }
    }
    impl<T> Clone for ExternalScalerServer<T> {
        fn clone(&self) -> Self {
            let inner = self.inner.clone();
            Self {
                inner,
                accept_compression_encodings: self.accept_compression_encodings,
                send_compression_encodings: self.send_compression_encodings,
                max_decoding_message_size: self.max_decoding_message_size,
                max_encoding_message_size: self.max_encoding_message_size,
            }
        }
    }
    /// Generated gRPC service name
    pub const SERVICE_NAME: &str = "externalscaler.ExternalScaler";
    impl<T> tonic::server::NamedService for ExternalScalerServer<T> {
        const NAME: &'static str = SERVICE_NAME;
    }
}
