//! The IDX format of MNIST's files.

/// The side of an image.
const SIDE: u32 = 28;

/// Kinds of IDX files: unsigned bytes in one dimension or three.
const LABELS: u32 = 0x0801;
const IMAGES: u32 = 0x0803;

/// Reads a file of images; returns the pixels, image after image.
///
/// ```text
/// 00000803  number of images  rows = 28  columns = 28  pixels …       numbers of 32 bits, the highest byte first
/// ```
///
/// # Errors
/// What is wrong with the file, as the rest of a sentence that begins with its name.
pub fn parse_images(bytes: &[u8]) -> Result<&[u8], String> {
    let content = parse(bytes, IMAGES, 3)?;
    let (rows, columns) = (number(bytes, 2), number(bytes, 3));
    if (rows, columns) != (Some(SIDE), Some(SIDE)) {
        let size = |side: Option<u32>| side.unwrap_or_default();
        return Err(format!("holds images of {} × {}; 28 × 28 are needed", size(rows), size(columns)));
    }
    Ok(content)
}

/// Reads a file of labels, which are classes 0 to 9.
///
/// # Errors
/// As [`parse_images`].
pub fn parse_labels(bytes: &[u8]) -> Result<&[u8], String> {
    let labels = parse(bytes, LABELS, 1)?;
    match labels.iter().find(|label| **label > 9) {
        Some(label) => Err(format!("holds the label {label}; the classes are 0 to 9")),
        None => Ok(labels),
    }
}

/// The 32-bit number at `position`, counted in numbers.
fn number(bytes: &[u8], position: usize) -> Option<u32> {
    bytes.get(4 * position..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

fn parse(bytes: &[u8], kind: u32, dimensions: usize) -> Result<&[u8], String> {
    let what = if kind == IMAGES { "images" } else { "labels" };
    match number(bytes, 0) {
        Some(found) if found == kind => {}
        Some(IMAGES) => return Err(format!("holds images where {what} are needed")),
        Some(LABELS) => return Err(format!("holds labels where {what} are needed")),
        Some(found) => return Err(format!("is no IDX file of {what}: it begins with {found:08x}")),
        None => return Err(format!("is cut short: it has {} bytes", bytes.len())),
    }
    let begin = 4 * (1 + dimensions);
    let sizes = (1..=dimensions).map(|dimension| number(bytes, dimension).map(|size| size as usize));
    let content = sizes
        .map(|size| size.ok_or(()))
        .try_fold(1_usize, |product, size| product.checked_mul(size?).ok_or(()));
    let Some(length) = content.ok().and_then(|content| content.checked_add(begin)) else {
        return Err(format!("is cut short or damaged: it has {} bytes", bytes.len()));
    };
    match bytes.len() {
        found if found < length => {
            Err(format!("is cut short: it has {found} bytes, its header needs {length}"))
        }
        found if found > length => Err(format!("has {found} bytes, its header needs only {length}")),
        _ => Ok(&bytes[begin..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(kind: u32, sizes: &[u32], content: usize) -> Vec<u8> {
        let header = std::iter::once(kind).chain(sizes.iter().copied());
        header.flat_map(u32::to_be_bytes).chain((0..content).map(|i| (i % 10) as u8)).collect()
    }

    #[test]
    fn whole_files_are_read() {
        assert_eq!(parse_images(&file(IMAGES, &[2, 28, 28], 1568)).unwrap().len(), 1568);
        assert_eq!(parse_labels(&file(LABELS, &[12], 12)).unwrap()[..3], [0, 1, 2]);
    }

    #[test]
    fn other_files_are_refused_in_one_clear_line() {
        let images = |sizes: &[u32], content| parse_images(&file(IMAGES, sizes, content)).unwrap_err();
        assert_eq!(images(&[2, 28, 28], 1567), "is cut short: it has 1583 bytes, its header needs 1584");
        assert_eq!(images(&[2, 28, 28], 1569), "has 1585 bytes, its header needs only 1584");
        assert_eq!(images(&[2, 14, 28], 784), "holds images of 14 × 28; 28 × 28 are needed");
        assert_eq!(images(&[u32::MAX, u32::MAX, u32::MAX], 9), "is cut short or damaged: it has 25 bytes");
        assert_eq!(parse_images(&[0, 0, 8]).unwrap_err(), "is cut short: it has 3 bytes");
        assert_eq!(parse_images(&file(LABELS, &[3], 3)).unwrap_err(), "holds labels where images are needed");
        assert_eq!(
            parse_labels(b"<!DOCTYPE").unwrap_err(),
            "is no IDX file of labels: it begins with 3c21444f"
        );
        let mut labels = file(LABELS, &[3], 3);
        labels[9] = 10;
        assert_eq!(parse_labels(&labels).unwrap_err(), "holds the label 10; the classes are 0 to 9");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), kind in any::<bool>()) {
            let mut bytes = bytes;
            if kind && bytes.len() > 4 {
                bytes[..4].copy_from_slice(&IMAGES.to_be_bytes());
            }
            parse_images(&bytes).ok();
            parse_labels(&bytes).ok();
        }
    }
}
