"""Small messages that no installed package holds: two of TF Serving's configurations.

They are declared here as their `.proto` files declare them, in a pool of their own, so that a package that brings the
same messages does no harm.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

MONITORING = """
name: "tensorflow_serving/config/monitoring_config.proto" package: "tensorflow.serving" syntax: "proto3"
message_type {
  name: "PrometheusConfig"
  field { name: "enable" number: 1 label: LABEL_OPTIONAL type: TYPE_BOOL }
  field { name: "path" number: 2 label: LABEL_OPTIONAL type: TYPE_STRING }
}
message_type {
  name: "MonitoringConfig"
  field { name: "prometheus_config" number: 1 label: LABEL_OPTIONAL type: TYPE_MESSAGE
          type_name: ".tensorflow.serving.PrometheusConfig" }
}
"""

SSL = """
name: "tensorflow_serving/config/ssl_config.proto" package: "tensorflow.serving" syntax: "proto3"
message_type {
  name: "SSLConfig"
  field { name: "server_key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
  field { name: "server_cert" number: 2 label: LABEL_OPTIONAL type: TYPE_STRING }
  field { name: "custom_ca" number: 3 label: LABEL_OPTIONAL type: TYPE_STRING }
  field { name: "client_verify" number: 4 label: LABEL_OPTIONAL type: TYPE_BOOL }
}
"""

_POOL = descriptor_pool.DescriptorPool()
for _text in (MONITORING, SSL):
    _POOL.Add(text_format.Parse(_text, descriptor_pb2.FileDescriptorProto()))


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


MonitoringConfig = _message("tensorflow.serving.MonitoringConfig")
SslConfig = _message("tensorflow.serving.SSLConfig")
