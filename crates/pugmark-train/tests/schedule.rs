//! The plateau schedule against `torch.optim.lr_scheduler.ReduceLROnPlateau`.

use pugmark_train::Plateau;
use safetensors::SafeTensors;

#[test]
fn rates_are_pytorchs() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/reduce_lr_on_plateau.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let fixture = SafeTensors::deserialize(&bytes).unwrap();
    let values = |name: String| -> Vec<f64> {
        let data = fixture.tensor(&name).unwrap();
        data.data().as_chunks().0.iter().map(|&chunk| f64::from_le_bytes(chunk)).collect()
    };
    for case in ["steady", "plateau", "below_threshold", "smallest"] {
        let mut schedule = Plateau::new(values(format!("{case}.learning_rate_0"))[0]);
        let rates: Vec<f64> = values(format!("{case}.losses"))
            .into_iter()
            .map(|loss| {
                schedule.step(loss);
                schedule.rate()
            })
            .collect();
        // The same operations on the same f64: equal to the bit.
        assert_eq!(rates, values(format!("{case}.learning_rates")), "{case}");
    }
}
