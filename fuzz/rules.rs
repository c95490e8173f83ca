//! Any bytes as rule files: they load or say everything that is wrong with them, and what loads can be described.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tercel_sensor::detect::Detector;
use tercel_sensor::fields::SensorCatalog;
use tercel_sensor::output::Template;
use tercel_sensor::rules::{describe, describe_text, load_text};

/// Begins another file; a comment to YAML.
const NEXT_FILE: &[u8] = b"\n#### next file\n";

fuzz_target!(|bytes: &[u8]| {
    let mut files = vec![bytes];
    if let Some(at) = bytes.windows(NEXT_FILE.len()).position(|window| window == NEXT_FILE) {
        files = vec![&bytes[..at], &bytes[at + NEXT_FILE.len()..]];
    }
    let named: Vec<(&str, &[u8])> = ["first.yaml", "second.yaml"].into_iter().zip(files).collect();
    match load_text(&named, &SensorCatalog) {
        Ok(set) => {
            describe(&set, &[]).to_string();
            describe_text(&set, &[]);
            for rule in &set.rules {
                if let Err(error) = Template::compile(&rule.output) {
                    rule.output_problem(error.offset..error.offset, error.message).to_string();
                }
            }
            // As they are put in force.
            if let Ok(detector) = Detector::new(set) {
                detector.event_types().count();
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            for problem in problems {
                assert!(!problem.message.is_empty() && !problem.to_string().is_empty(), "{problem:?}");
            }
        }
    }
});
