//! The schemas of the OpenAPI document: what goes in and comes out as JSON, derived from the types
//! that are read and written.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::handlers::{Energy, Init, TaskList};
use super::problem::Body;
use super::served::About;
use super::session::State;
use super::solve_view::SolveView;
use super::solving::Solve;
use super::tasks::Published;

/// By name, whatever a route takes or gives.
pub fn all() -> Value {
    let mut taken = generator(SchemaSettings::for_deserialize);
    add::<Init>(&mut taken);
    add::<Solve>(&mut taken);
    let mut given = generator(SchemaSettings::for_serialize);
    add::<State>(&mut given);
    add::<Energy>(&mut given);
    add::<About>(&mut given);
    add::<TaskList>(&mut given);
    add::<Published>(&mut given);
    add::<SolveView>(&mut given);
    add::<Body>(&mut given);
    let mut all = Map::new();
    for mut generator in [taken, given] {
        all.extend(generator.take_definitions(true));
    }
    all.insert("OpenApi".into(), json!({ "type": "object" }));
    Value::Object(all)
}

fn generator(contract: fn(SchemaSettings) -> SchemaSettings) -> SchemaGenerator {
    let place = |settings: &mut SchemaSettings| settings.definitions_path = PLACE.into();
    contract(SchemaSettings::draft2020_12().with(place)).into_generator()
}

fn add<T: JsonSchema>(generator: &mut SchemaGenerator) {
    generator.subschema_for::<T>();
}

/// Where the document has them.
const PLACE: &str = "/components/schemas";

pub fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#{PLACE}/{schema}") })
}
