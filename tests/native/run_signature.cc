// Loads a SavedModel as TensorFlow Serving does and runs one signature of it, without Python.
//
//   run_signature MODEL SIGNATURE OUTPUT FILE [INPUT=FILE ...]
//
// Files hold serialized TensorProtos. The exit code is that of the status, its message goes to standard error.

#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"
#include "tensorflow/core/framework/tensor.pb.h"

namespace tensorflow {
void DisableXlaCompilation();  // what TensorFlow Serving calls before it loads anything
}

int fail(const absl::Status& status) {
  std::cerr << status.message() << std::endl;
  return static_cast<int>(status.code());
}

int main(int argc, char** argv) {
  if (argc < 5) return 2;
  tensorflow::DisableXlaCompilation();
  tensorflow::SavedModelBundle bundle;
  absl::Status status = tensorflow::LoadSavedModel({}, {}, argv[1], {"serve"}, &bundle);
  if (!status.ok()) return fail(status);
  const auto& signature = bundle.GetSignatures().at(argv[2]);

  std::vector<std::pair<std::string, tensorflow::Tensor>> inputs;
  for (int i = 5; i < argc; ++i) {
    const std::string argument = argv[i];
    const size_t equals = argument.find('=');
    std::ifstream file(argument.substr(equals + 1), std::ios::binary);
    std::stringstream bytes;
    bytes << file.rdbuf();
    tensorflow::TensorProto proto;
    tensorflow::Tensor tensor;
    if (!proto.ParseFromString(bytes.str()) || !tensor.FromProto(proto)) return 2;
    inputs.emplace_back(signature.inputs().at(argument.substr(0, equals)).name(), tensor);
  }

  std::vector<tensorflow::Tensor> outputs;
  status = bundle.GetSession()->Run(inputs, {signature.outputs().at(argv[3]).name()}, {}, &outputs);
  if (!status.ok()) return fail(status);
  tensorflow::TensorProto proto;
  outputs[0].AsProtoTensorContent(&proto);
  std::ofstream(argv[4], std::ios::binary) << proto.SerializeAsString();
  return 0;
}
