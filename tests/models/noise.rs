//! What rounding may do to a parameter that an optimizer moves. Adam and sign steps divide a
//! gradient by its own size: an element whose gradient is near zero beside its tensor's largest is
//! moved by rounding, by up to a whole step, and so differently on every CPU and device.

use std::collections::HashMap;

use crate::common::golden::Golden;

/// Error of a gradient's element by rounding, as a share of its tensor's largest.
const ROUNDING: f64 = 1e-5;
/// Its error once a step was made: what rounding moved by a whole step changes all gradients after
/// it.
const FOLLOWING: f64 = 1e-3;

/// How far each element of each parameter may be from where it should be.
#[derive(Default)]
pub struct Noise {
    by_name: HashMap<String, Vec<Element>>,
}

#[derive(Clone, Copy, Default)]
struct Element {
    /// Some step's gradient had no direction but rounding.
    lost: bool,
    /// The largest relative error of its gradient in a step so far, at most 1. A moment remembers
    /// it.
    doubt: f64,
    allowed: f64,
}

impl Noise {
    /// A step of rate `lr` along `gradient`, which is in doubt by its largest element's rounding.
    /// An element of zero was not used.
    pub fn note(&mut self, name: &str, gradient: &[f64], lr: f64) {
        let largest = gradient.iter().fold(0.0_f64, |m, g| m.max(g.abs()));
        self.add(largest, name, gradient, lr, |g| g != 0.0);
    }

    /// A step of rate `lr` along a `gradient` that comes of numbers as large as `largest`, which
    /// may have cancelled to zero here and not there.
    pub fn note_beside(&mut self, largest: f64, name: &str, gradient: &[f64], lr: f64) {
        self.add(largest, name, gradient, lr, |_| largest > 0.0);
    }

    fn add(
        &mut self,
        largest: f64,
        name: &str,
        gradient: &[f64],
        lr: f64,
        moves: impl Fn(f64) -> bool,
    ) {
        let is_first = !self.knows(name);
        let error = largest * if is_first { ROUNDING } else { FOLLOWING };
        let elements = self.by_name.entry(name.to_owned()).or_default();
        elements.resize(gradient.len(), Element::default());
        for (element, g) in elements.iter_mut().zip(gradient) {
            if moves(*g) {
                element.lost |= g.abs() <= ROUNDING * largest;
                element.doubt = element.doubt.max((error / g.abs()).min(1.0));
            }
            // A step in the other direction is two steps away.
            element.allowed += 2.0 * lr * element.doubt;
        }
    }

    /// Whether steps along this parameter were noted.
    pub fn knows(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// The golden's `full` against parameter `name`: within `tolerance` of its largest element, and
    /// what rounding allows. At most `share` of the elements may have had no direction but
    /// rounding.
    pub fn check(
        &self,
        golden: &Golden,
        (full, name): (&str, &str),
        got: &[f64],
        tolerance: f64,
        share: f64,
    ) {
        let (elements, want) = (&self.by_name[name], golden.f64s(full));
        assert_eq!((got.len(), want.len()), (elements.len(), elements.len()), "{full}: elements");
        let lost = elements.iter().filter(|e| e.lost).count() as f64;
        assert!(lost <= share * elements.len() as f64, "{full}: {lost} elements are noise");
        golden.count(1);
        assert!(want.iter().all(|w| w.is_finite()), "{full}: the golden is not finite");
        let largest = want.iter().fold(1e-12_f64, |m, w| m.max(w.abs()));
        for (i, ((got, want), element)) in got.iter().zip(&want).zip(elements).enumerate() {
            let error = (got - want).abs();
            if !(error <= tolerance * largest + element.allowed) {
                let Element { doubt, allowed, .. } = element;
                golden.fail(format!(
                    "{full}[{i}]: {got} for {want}: error {error:e}, of which rounding explains \
                     {allowed:e} (gradient in doubt by {doubt:e})"
                ));
                return;
            }
        }
    }
}
