// FunctionRef: a non-owning view of a callable, for callbacks that do not outlive the call.
//
// Unlike std::function it never allocates. The callable must outlive the FunctionRef.
// Source: the idea of llvm::function_ref and C++26's std::function_ref. Cost: one indirect call.
// Held by comm/local_world_test.cc, its heaviest user.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace pentafold {

template <class Signature>
class FunctionRef;

template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>)
  FunctionRef(F&& f)  // NOLINT: callables convert
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(f)))),
        call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(std::forward<Args>(args)...);
        }) {}
  R operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

}  // namespace pentafold
