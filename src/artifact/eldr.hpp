// ELDR's centroid file, both ways (arXiv:2607.00466; casys-kaist/ELDR, serving/clustering.py at commit
// a1a89a9): {model, algo, k, L, e, variant, layer_mask, sig_idf, sig_dtype, seed, centroids}. Layers are
// numbered from 0 among the MoE layers; sig_idf is [mask * e]; centroids are [k][mask * e], unit rows.
#pragma once

#include <string>
#include <string_view>

#include "artifact/router.hpp"
#include "core/model_shape.hpp"
#include "core/result.hpp"

namespace moesaic::artifact {

/// The router as ELDR's proxy loads it. A count transform on some of the layers becomes count_idf with
/// weights of one, which is the same signature. ELDR has no capacities: all decoders count alike there.
/// Errors (bad input): a transform that ELDR does not know, a prototype of zeros.
Result<std::string> write_eldr_centroids(const Router& router);

/// Inverse, for a model of `shape`: a router to k decoders of equal shares. Keys that ELDR's own loader
/// passes over are passed over. Errors (bad input) name `where` and the key.
Result<Router> read_eldr_centroids(std::string_view text, const ModelShape& shape, const std::string& where);

}  // namespace moesaic::artifact
