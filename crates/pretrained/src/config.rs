//! `config.json` of a Hugging Face folder.

use serde_json::{Value, json};

use crate::shape::{Family, Shape};

/// The shape that a config says.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn shape(config: &Value) -> Result<Shape, String> {
    let kind = config["model_type"].as_str().ok_or("it has no model_type")?;
    let Some((_, family)) = Family::ALL.into_iter().find(|(name, _)| *name == kind) else {
        let known = Family::ALL.map(|(name, _)| name).join(", ");
        return Err(format!("its model_type is \"{kind}\", and only these can be read: {known}"));
    };
    let given = |key: &str| config.get(key).filter(|value| !value.is_null());
    let optional = |key: &str| -> Result<Option<usize>, String> {
        let Some(value) = given(key) else { return Ok(None) };
        let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
        number.map(Some).ok_or_else(|| format!("its {key} is {value}, which is no size"))
    };
    let size = |key: &str| optional(key)?.ok_or_else(|| format!("it has no {key}"));
    let number = |key: &str, default: f64| given(key).and_then(Value::as_f64).unwrap_or(default);
    let flag = |key: &str, default: bool| given(key).and_then(Value::as_bool).unwrap_or(default);
    require_plain(config, family)?;
    let (d, layers, heads, mlp) = match family {
        Family::Gpt2 => ("n_embd", "n_layer", "n_head", "n_inner"),
        Family::GptNeo => ("hidden_size", "num_layers", "num_heads", "intermediate_size"),
        _ => ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    };
    let (n_embd, n_layer, n_head) = (size(d)?, size(layers)?, size(heads)?);
    let d_mlp = optional(mlp)?.unwrap_or(n_embd.saturating_mul(4));
    let head_width = match optional("head_dim")? {
        Some(width) if family.gated() => width,
        _ if n_head > 0 && n_embd.is_multiple_of(n_head) => n_embd / n_head,
        _ => return Err(format!("{n_embd} channels cannot be shared by {n_head} heads")),
    };
    let rope = &config["rope_parameters"];
    let nested = |key: &str| rope[key].as_f64();
    let rotary_width = match family {
        Family::Llama | Family::Qwen2 => head_width,
        Family::GptNeoX => {
            let share = nested("partial_rotary_factor").unwrap_or(number("rotary_pct", 0.25));
            (head_width as f64 * share) as usize
        }
        Family::Gpt2 | Family::GptNeo => 0,
    };
    let context = if family == Family::Gpt2 { "n_positions" } else { "max_position_embeddings" };
    let eps = match family {
        Family::Llama | Family::Qwen2 => number("rms_norm_eps", 1e-6),
        Family::GptNeoX => number("layer_norm_eps", 1e-5),
        _ => number("layer_norm_epsilon", 1e-5),
    };
    let shape = Shape {
        family,
        n_layer,
        n_head,
        n_kv_head: optional("num_key_value_heads")?.filter(|_| family.gated()).unwrap_or(n_head),
        head_width,
        n_embd,
        d_mlp,
        vocab_size: size("vocab_size")?,
        context: size(context)?,
        norm_eps: eps,
        rope_theta: nested("rope_theta")
            .or(given("rope_theta").and_then(Value::as_f64))
            .unwrap_or(number("rotary_emb_base", 10_000.0)),
        rotary_width,
        parallel: family == Family::GptNeoX && flag("use_parallel_residual", true),
        tied: flag("tie_word_embeddings", matches!(family, Family::Gpt2 | Family::GptNeo)),
        windows: Vec::new(),
    };
    // no list is made for more blocks than there can be
    Shape { windows: vec![None], n_layer: 1, ..shape.clone() }.check()?;
    if n_layer > 1 << 10 {
        return Err(format!("it says {n_layer} blocks, at most {} can be used", 1 << 10));
    }
    let shape = Shape { windows: windows(config, family, n_layer)?, ..shape };
    shape.check()?;
    Ok(shape)
}

/// What the config of a model of that shape says, for who reads it elsewhere.
pub(crate) fn written(shape: &Shape, ends: &[u32]) -> Value {
    let Shape { family, n_layer, n_head, n_embd, d_mlp, context, .. } = shape;
    let class = match family {
        Family::Llama => "LlamaForCausalLM",
        Family::Qwen2 => "Qwen2ForCausalLM",
        Family::Gpt2 => "GPT2LMHeadModel",
        Family::GptNeoX => "GPTNeoXForCausalLM",
        Family::GptNeo => "GPTNeoForCausalLM",
    };
    let own = match family {
        Family::Gpt2 => json!({
            "n_embd": n_embd, "n_layer": n_layer, "n_head": n_head, "n_inner": d_mlp, "n_positions": context,
            "layer_norm_epsilon": shape.norm_eps, "activation_function": "gelu_new", "scale_attn_weights": true,
            "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
        }),
        Family::GptNeo => {
            let kind = |window: &Option<usize>| if window.is_some() { "local" } else { "global" };
            let kinds: Vec<Value> = shape.windows.iter().map(|window| json!([[kind(window)], 1])).collect();
            let window = shape.windows.iter().flatten().next().copied().unwrap_or(256);
            json!({
                "hidden_size": n_embd, "num_layers": n_layer, "num_heads": n_head, "intermediate_size": d_mlp,
                "max_position_embeddings": context, "layer_norm_epsilon": shape.norm_eps,
                "activation_function": "gelu_new", "attention_types": kinds, "window_size": window,
                "resid_dropout": 0.0, "embed_dropout": 0.0, "attention_dropout": 0.0,
            })
        }
        Family::Llama | Family::Qwen2 | Family::GptNeoX => {
            let share = shape.rotary_width as f64 / shape.head_width as f64;
            let mut rope = json!({"rope_type": "default", "rope_theta": shape.rope_theta});
            let mut own = json!({
                "hidden_size": n_embd, "num_hidden_layers": n_layer, "num_attention_heads": n_head,
                "intermediate_size": d_mlp, "max_position_embeddings": context,
            });
            let more = if *family == Family::GptNeoX {
                rope["partial_rotary_factor"] = share.into();
                json!({
                    "layer_norm_eps": shape.norm_eps, "hidden_act": "gelu", "rotary_pct": share,
                    "rotary_emb_base": shape.rope_theta, "use_parallel_residual": shape.parallel,
                })
            } else {
                json!({
                    "num_key_value_heads": shape.n_kv_head, "head_dim": shape.head_width,
                    "rms_norm_eps": shape.norm_eps, "hidden_act": "silu", "rope_theta": shape.rope_theta,
                })
            };
            merge(&mut own, more);
            own["rope_parameters"] = rope;
            own
        }
    };
    let end = match ends {
        [] => Value::Null,
        [end] => (*end).into(),
        ends => ends.into(),
    };
    // those that begin a text with the token that ends one
    let begin = ends.first().filter(|_| !family.gated()).map_or(Value::Null, |end| (*end).into());
    let mut config = json!({
        "architectures": [class], "model_type": family.name(), "vocab_size": shape.vocab_size,
        "tie_word_embeddings": shape.tied, "torch_dtype": "float32", "bos_token_id": begin, "eos_token_id": end,
    });
    merge(&mut config, own);
    config
}

fn merge(into: &mut Value, more: Value) {
    if let (Value::Object(into), Value::Object(more)) = (into, more) {
        into.extend(more);
    }
}

/// Refuses what would be computed otherwise than the model was trained.
fn require_plain(config: &Value, family: Family) -> Result<(), String> {
    for key in ["rope_scaling", "rope_parameters"] {
        let rope = &config[key];
        let kind = rope["rope_type"].as_str().or(rope["type"].as_str()).unwrap_or("default");
        if kind != "default" {
            return Err(format!("its rotary positions are scaled ({kind}), which cannot be read"));
        }
    }
    let activation = config["hidden_act"].as_str().or(config["activation_function"].as_str());
    let known: &[&str] = match family {
        Family::Llama | Family::Qwen2 => &["silu"],
        Family::GptNeoX => &["gelu"],
        Family::Gpt2 | Family::GptNeo => &["gelu_new", "gelu_pytorch_tanh"],
    };
    if let Some(activation) = activation.filter(|activation| !known.contains(activation)) {
        return Err(format!(
            "its activation is \"{activation}\", and only {} can be read",
            known.join(" and ")
        ));
    }
    for key in ["attention_bias", "mlp_bias"] {
        if family == Family::Llama && config[key].as_bool() == Some(true) {
            return Err(format!("it has {key}, which cannot be read"));
        }
    }
    for (key, usual) in [
        ("scale_attn_weights", true),
        ("scale_attn_by_inverse_layer_idx", false),
        ("use_sliding_window", false),
    ] {
        if config[key].as_bool().is_some_and(|given| given != usual) {
            return Err(format!("its {key} is {}, which cannot be read", !usual));
        }
    }
    Ok(())
}

/// The windows of GPT-Neo's blocks: `attention_types` lists kinds with how often they are repeated.
fn windows(config: &Value, family: Family, n_layer: usize) -> Result<Vec<Option<usize>>, String> {
    if family != Family::GptNeo {
        return Ok(vec![None; n_layer]);
    }
    let window = config["window_size"].as_u64().unwrap_or(256) as usize;
    let mut all = Vec::new();
    for item in config["attention_types"].as_array().ok_or("it has no attention_types")? {
        let kinds = item[0].as_array().ok_or("its attention_types are no lists")?;
        let times = item[1].as_u64().ok_or("its attention_types have no number")?.min(n_layer as u64);
        for _ in 0..times {
            for kind in kinds {
                all.push((kind == "local").then_some(window));
            }
            if all.len() > n_layer {
                break;
            }
        }
    }
    Ok(all)
}
