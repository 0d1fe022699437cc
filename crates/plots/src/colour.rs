/// The colours of Okabe and Ito, which people with any common colour blindness tell apart, and a grey.
///
/// # Source
/// M. Okabe and K. Ito, *Color Universal Design*, 2008.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Colour {
    /// `#0072B2`
    Blue,
    /// `#E69F00`
    Orange,
    /// `#009E73`
    Green,
    /// `#D55E00`
    Vermillion,
    /// `#CC79A7`
    Purple,
    /// `#56B4E9`
    Sky,
    /// `#F0E442`; pale on white, so the last to choose for a thin line
    Yellow,
    /// `#000000`
    Black,
    /// `#7F7F7F`
    Grey,
}

impl Colour {
    /// Red, green and blue, each from 0 to 255.
    pub const fn rgb(self) -> [u8; 3] {
        match self {
            Self::Blue => [0, 114, 178],
            Self::Orange => [230, 159, 0],
            Self::Green => [0, 158, 115],
            Self::Vermillion => [213, 94, 0],
            Self::Purple => [204, 121, 167],
            Self::Sky => [86, 180, 233],
            Self::Yellow => [240, 228, 66],
            Self::Black => [0, 0, 0],
            Self::Grey => [127, 127, 127],
        }
    }
}
