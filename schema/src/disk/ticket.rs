use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// What is said of one that is written otherwise.
const MEND: &str = "write the ticket as it was printed, it begins with `wipe-`: `piccolo disk wipe-ticket` makes one for a Disk, \
                    `POST /install/tickets` for an Install";

/// How a ticket is written by which all that is on one disk may be erased once. Which disk that is, and for how long, is known to the
/// machine alone that made it.
#[derive(Clone, Copy, Debug)]
pub struct Ticket;

impl JsonSchema for Ticket {
    fn schema_name() -> Cow<'static, str> {
        "Ticket".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^wipe-[0-9a-f]{24}$",
            "patternErrorMessage": MEND,
        })
    }
}
