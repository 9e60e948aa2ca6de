#include "plan/plan_paths.h"

#include <filesystem>
#include <system_error>

namespace pentafold {
namespace {

namespace fs = std::filesystem;

fs::path folder_of(const std::string& plan_file) {
  return fs::path(plan_file).parent_path();
}

bool exists(const fs::path& path) {
  std::error_code unreadable;
  return fs::exists(path, unreadable);
}

}  // namespace

bool could_be_catalog_name(const std::string& model) {
  if (model.empty() || model.find('/') != std::string::npos || model == "." || model == "..") {
    return false;
  }
  const std::string extension = fs::path(model).extension().string();
  return extension != ".yaml" && extension != ".yml" && extension != ".json";
}

std::string resolve_path(const std::string& written, const std::string& plan_file) {
  return (folder_of(plan_file) / written).lexically_normal().string();
}

std::string resolve_model(const std::string& written, const std::string& plan_file) {
  const std::string path = resolve_path(written, plan_file);
  return could_be_catalog_name(written) && !exists(path) ? written : path;
}

std::string written_path(const std::string& path, const std::string& plan_file) {
  const fs::path folder = folder_of(plan_file);
  if (folder.empty() || path.empty()) return path;
  const fs::path target(path);
  if (target.is_absolute() && folder.is_relative()) return path;
  const bool plan_is_above = *folder.lexically_normal().begin() == "..";
  if (target.is_absolute() == folder.is_absolute() && !plan_is_above) {
    return target.lexically_normal().lexically_relative(folder.lexically_normal()).string();
  }
  // The way back from above leads through the names of the current folder, which only its absolute
  // path tells.
  std::error_code unreadable;
  const fs::path from = fs::absolute(folder, unreadable).lexically_normal();
  const fs::path to = fs::absolute(target, unreadable).lexically_normal();
  return to.lexically_relative(from).string();
}

std::string written_model(const std::string& model, const std::string& plan_file) {
  if (could_be_catalog_name(model) && !exists(model)) return model;
  return written_path(model, plan_file);
}

}  // namespace pentafold
