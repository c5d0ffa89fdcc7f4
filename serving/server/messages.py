"""Small messages that no installed package holds: two of TF Serving's configurations."""

from fewshot.exported.messages import declare, message_of, pool_of

_POOL = pool_of(
    declare(
        "tensorflow.serving",
        {
            "PrometheusConfig": "enable:bool path:string",
            "MonitoringConfig": "prometheus_config:PrometheusConfig",
            "SSLConfig": "server_key:string server_cert:string custom_ca:string client_verify:bool",
        },
    )
)

MonitoringConfig = message_of(_POOL, "tensorflow.serving.MonitoringConfig")
SslConfig = message_of(_POOL, "tensorflow.serving.SSLConfig")
