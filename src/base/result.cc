#include "base/result.h"

namespace pentafold {

const char* to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::InvalidSpec:
      return "InvalidSpec";
    case ErrorCode::InfeasiblePlan:
      return "InfeasiblePlan";
    case ErrorCode::OutOfMemory:
      return "OutOfMemory";
    case ErrorCode::Timeout:
      return "Timeout";
    case ErrorCode::PeerLost:
      return "PeerLost";
    case ErrorCode::Unsupported:
      return "Unsupported";
    case ErrorCode::Io:
      return "Io";
  }
  return "?";
}

std::string Error::to_string() const {
  if (file.empty()) return message;
  if (line <= 0) return file + ": " + message;
  return file + ":" + std::to_string(line) + ": " + message;
}

}  // namespace pentafold
