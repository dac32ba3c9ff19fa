//! Tensor parallelism: chosen as the smallest that leaves the KV cache enough memory, or checked where it is stated.

use super::{CatalogueError, Place};
use crate::accelerator::Accelerator;
use crate::model::Model;
use crate::roofline::Roofline;
use crate::variant::EngineSettings;

/// Least share of the device memory that the KV cache gets when tensor parallelism is chosen rather than stated. With
/// less, the batch is so small that the weight reads are hardly shared; with much more asked for, gpt-oss-120b would
/// not be put on the single 80 GB device that it was made for.
pub const KV_SHARE: f64 = 0.15;

/// Tensor parallelism that is tried when none is stated: what nodes come in.
const TRIED: [u32; 5] = [1, 2, 4, 8, 16];

/// The stated tensor parallelism, if it divides the heads and the model fits. A stated KV-cache size is a measurement,
/// and proves that it fits.
pub(super) fn check_split(
    model: &Model,
    accelerator: &Accelerator,
    engine: &EngineSettings,
    tensor_parallel: u32,
    place: Place,
) -> Result<u32, CatalogueError> {
    if !model.can_split_over(tensor_parallel) {
        return Err(CatalogueError::Indivisible {
            place,
            model: model.name.clone(),
            value: tensor_parallel,
            possible: (1..=16).filter(|&tp| model.can_split_over(tp)).collect(),
        });
    }
    let left = left_for_kv(model, accelerator, engine, tensor_parallel);
    if engine.kv_cache_tokens.is_none() && left <= 0.0 {
        return Err(does_not_fit(
            model,
            accelerator,
            engine,
            tensor_parallel,
            place,
        ));
    }
    Ok(tensor_parallel)
}

/// The smallest tensor parallelism that leaves [`KV_SHARE`], else the smallest that fits at all.
pub(super) fn choose_split(
    model: &Model,
    accelerator: &Accelerator,
    engine: &EngineSettings,
    place: &Place,
) -> Result<u32, CatalogueError> {
    smallest_split(model, accelerator, engine, KV_SHARE)
        .or_else(|| smallest_split(model, accelerator, engine, 0.0))
        .ok_or_else(|| {
            let most = TRIED.iter().rev().find(|&&tp| model.can_split_over(tp));
            does_not_fit(
                model,
                accelerator,
                engine,
                most.copied().unwrap_or(1),
                place.clone(),
            )
        })
}

/// The smallest tensor parallelism of those tried that leaves more than `kv_share` of the memory to the KV cache.
pub(super) fn smallest_split(
    model: &Model,
    accelerator: &Accelerator,
    engine: &EngineSettings,
    kv_share: f64,
) -> Option<u32> {
    TRIED
        .into_iter()
        .filter(|&tp| model.can_split_over(tp))
        .find(|&tp| {
            left_for_kv(model, accelerator, engine, tp) > kv_share * accelerator.memory_bytes()
        })
}

fn left_for_kv(
    model: &Model,
    accelerator: &Accelerator,
    engine: &EngineSettings,
    tensor_parallel: u32,
) -> f64 {
    let roofline = Roofline {
        model,
        accelerator,
        tensor_parallel,
        engine,
    };
    roofline.memory().kv_cache()
}

fn does_not_fit(
    model: &Model,
    accelerator: &Accelerator,
    engine: &EngineSettings,
    tensor_parallel: u32,
    place: Place,
) -> CatalogueError {
    CatalogueError::DoesNotFit {
        place,
        model: model.name.clone(),
        accelerator: accelerator.name.clone(),
        tensor_parallel,
        missing_gb: -left_for_kv(model, accelerator, engine, tensor_parallel) / 1e9,
        fitting: smallest_split(model, accelerator, engine, KV_SHARE)
            .or_else(|| smallest_split(model, accelerator, engine, 0.0)),
    }
}
