// lowerable: the ModelSpec whose programs move the bytes and rows of a ModelShape.
//
// verify judges programs, and programs are lowered from a ModelSpec. Where every layer of a shape
// is grouped-query attention and a dense MLP or experts, of the same dimensions throughout, such a
// spec exists: the same heads, widths, experts, windows and layers with experts. It is not a model
// to run: rope, activations and routing order are defaults, and what no rank exchanges (sinks,
// biases of experts, router biases, further norms) is left out.
// Cost: O(kinds + layers). Held by spec/lowerable_test.cc (shapes of the engine's families come
// back with equal dimensions, and every plain model of the catalog has one).
#pragma once

#include "base/result.h"
#include "spec/model_shape.h"

namespace pentafold {

// Unsupported where there is none; the message completes "programs ... are not lowered yet":
// "of latent attention".
Result<ModelSpec> lowerable(const ModelShape& shape);

}  // namespace pentafold
