from serving.graph.export import ExportOptions as ExportOptions
from serving.graph.export import export as export
from serving.server.flags import ServeOptions as ServeOptions
from serving.server.flags import read_flags as read_flags
from serving.server.server import ModelServer as ModelServer
from serving.server.server import serve as serve
