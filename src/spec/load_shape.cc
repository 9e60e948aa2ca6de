#include "spec/load_shape.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "base/nearest.h"
#include "base/quote.h"
#include "base/text_file.h"
#include "spec/embedded.h"
#include "spec/load_model.h"
#include "spec/model_names.h"
#include "spec/yaml_reader.h"

namespace pentafold {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxSpecBytes = 8'000'000;
constexpr std::string_view kFolder = "specs/models/";
constexpr std::string_view kExtension = ".yaml";

// Of a file of the catalog; empty for its other files.
std::string_view catalog_name(const EmbeddedFile& file) {
  if (!file.path.starts_with(kFolder) || !file.path.ends_with(kExtension)) return {};
  const std::string_view name = file.path.substr(kFolder.size());
  return name.substr(0, name.size() - kExtension.size());
}

std::vector<std::string_view> catalog_names() {
  std::vector<std::string_view> out;
  for (const EmbeddedFile& file : embedded_files()) {
    if (!catalog_name(file).empty()) out.push_back(catalog_name(file));
  }
  std::sort(out.begin(), out.end());
  return out;
}

// The two kinds of YAML are told apart by the key `kind`.
Result<CatalogModel> parse_yaml_model(const std::string& text, const std::string& file) {
  PF_ASSIGN(const YAML::Node document, load_yaml(text, file));
  PF_ASSIGN(const YamlMap map, YamlMap::of(document, file));
  if (map.has("kind")) return parse_catalog_model(text, file);
  PF_ASSIGN(const ModelSpec spec, parse_shape_spec(text, file));
  CatalogModel out;
  out.name = spec.name;
  out.shape = shape_of(spec);
  return out;
}

Result<ModelShape> load_directory(const std::string& path) {
  const fs::path config = fs::path(path) / "config.json";
  std::error_code ignored;
  if (!fs::exists(config, ignored)) {
    return make_error(ErrorCode::Io, "has no config.json; a model directory needs one", path);
  }
  PF_ASSIGN(const std::string text, read_text_file(config.string(), kMaxSpecBytes));
  PF_ASSIGN(ModelShape shape, parse_hf_shape(text, config.string()));
  const fs::path plain = fs::path(path).lexically_normal();
  shape.name = (plain.has_filename() ? plain : plain.parent_path()).filename().string();
  return shape;
}

// The nearest name, or all names that the text is a part of ("gpt-oss").
std::string meant_names(const std::string& text) {
  const auto names = catalog_names();
  const std::string meant = nearest(text, names);
  if (!meant.empty()) return quote_text(meant);
  std::vector<std::string_view> longer;
  for (const std::string_view name : names) {
    if (text.size() >= 3 && name.find(text) != std::string_view::npos) longer.push_back(name);
  }
  return fmt::format("{}", fmt::join(longer, ", "));
}

Error not_found(const std::string& path) {
  const std::string meant = meant_names(path);
  std::error_code ignored;
  const bool exists = fs::exists(path, ignored);
  const std::string instead = meant.empty() ? "" : fmt::format("did you mean {}? Or ", meant);
  return make_error(
      exists ? ErrorCode::Unsupported : ErrorCode::Io,
      fmt::format("{} is not a model; {}give a name of the catalog (pentafold models lists them), "
                  "a Hugging Face directory, its config.json, or a .yaml shape",
                  quote_text(path), instead));
}

}  // namespace

Result<ShapeInput> load_shape(const std::string& name_or_path) {
  ShapeInput out;
  out.path = name_or_path;
  for (const EmbeddedFile& file : embedded_files()) {
    if (name_or_path.empty() || catalog_name(file) != name_or_path) continue;
    PF_ASSIGN(CatalogModel model, parse_yaml_model(std::string(file.text), std::string(file.path)));
    out.model = std::move(model.shape);
    return out;
  }
  std::error_code ignored;
  const std::string extension = fs::path(name_or_path).extension().string();
  const bool yaml = extension == ".yaml" || extension == ".yml";
  if (fs::is_directory(name_or_path, ignored)) {
    PF_ASSIGN(out.model, load_directory(name_or_path));
  } else if (yaml || extension == ".json") {
    PF_ASSIGN(const std::string text, read_text_file(name_or_path, kMaxSpecBytes));
    if (yaml) {
      PF_ASSIGN(CatalogModel model, parse_yaml_model(text, name_or_path));
      out.model = std::move(model.shape);
    } else {
      PF_ASSIGN(out.model, parse_hf_shape(text, name_or_path));
    }
  } else {
    const auto published = catalog_name_of(name_or_path);
    if (!published || fs::exists(name_or_path, ignored)) return not_found(name_or_path);
    return load_shape(*published);
  }
  out.runnable = load_model(name_or_path).ok();
  return out;
}

std::vector<CatalogModel> catalog_models() {
  std::vector<CatalogModel> out;
  for (const EmbeddedFile& file : embedded_files()) {
    if (catalog_name(file).empty()) continue;
    auto model = parse_yaml_model(std::string(file.text), std::string(file.path));
    if (!model.ok()) check_failed(__FILE__, __LINE__, "catalog", model.error().to_string());
    out.push_back(std::move(model).value());
  }
  std::sort(out.begin(), out.end(),
            [](const CatalogModel& a, const CatalogModel& b) { return a.name < b.name; });
  return out;
}

}  // namespace pentafold
