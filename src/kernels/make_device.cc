#include <memory>
#include <string_view>

#include "kernels/cpu/cpu_device.h"
#include "kernels/device.h"
#include "kernels/reference/reference_device.h"

namespace pentafold {

std::unique_ptr<Device> make_device(std::string_view name, Team* team) {
  if (name == "reference") return make_reference_device();
  if (name == "cpu") return make_cpu_device(team);
  return nullptr;
}

}  // namespace pentafold
