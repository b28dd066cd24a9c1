//! How deep an expression is, before it is parsed: parser and compiler recurse, and a stack that overflows takes the
//! process with it.

/// The deepest that is taken; the stack that [`Engine::compile`](super::engine::Engine::compile) works on has room for
/// several times as much (measured: under 4 KiB a level without optimisation).
pub(super) const DEEPEST: usize = 4000;

/// Words behind which the rest of the expression lies one level deeper.
const DEEPER: &[&str] =
    &["as", "if", "then", "elif", "else", "try", "catch", "def", "reduce", "foreach", "label", "and", "or"];

/// A bound of the depth: what is open at a place, and all that was chained at each of its levels before. Elements of an
/// object stand beside each other, however many there are.
pub(super) fn of(code: &str) -> usize {
    let bytes = code.as_bytes();
    // What closes each level, and how much was chained in it.
    let mut open: Vec<(u8, usize)> = vec![(0, 0)];
    let (mut depth, mut deepest, mut at) = (0, 0, 0);
    while let Some(&byte) = bytes.get(at) {
        let closer = open.last().map_or(0, |(closer, _)| *closer);
        let in_text = closer == b'"';
        // How long it is, what it opens, how many levels it chains.
        let (mut length, mut opens, mut chains) = (1, None, 0);
        match byte {
            b'\\' if in_text => {
                length = 2;
                opens = (bytes.get(at + 1) == Some(&b'(')).then_some(b')');
            }
            _ if byte == closer && open.len() > 1 => {
                depth -= open.pop().map_or(0, |(_, chained)| chained + 1);
            }
            _ if in_text => (),
            b'"' => opens = Some(b'"'),
            b'(' => opens = Some(b')'),
            b'[' => opens = Some(b']'),
            b'{' => opens = Some(b'}'),
            b'#' => length = bytes[at..].iter().position(|b| *b == b'\n').unwrap_or(bytes.len() - at),
            b',' if closer == b'}' => {
                depth -= open.last_mut().map_or(0, |(_, chained)| std::mem::take(chained));
            }
            b'|' | b',' | b';' | b'+' | b'-' | b'*' | b'/' | b'%' | b'=' | b'<' | b'>' | b'!' => chains = 1,
            _ if is_word(&byte) => {
                length = bytes[at..].iter().take_while(|byte| is_word(byte)).count();
                chains = usize::from(DEEPER.contains(&&code[at..at + length]));
            }
            _ => (),
        }
        if let Some((_, chained)) = open.last_mut() {
            *chained += chains;
        }
        depth += chains + usize::from(opens.is_some());
        open.extend(opens.map(|closer| (closer, 0)));
        deepest = deepest.max(depth);
        at += length;
    }
    deepest
}

fn is_word(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || *byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn what_nests_and_what_is_chained_is_deep() {
        for (code, depth) in [
            (".a.b", 0),
            ("((.))", 2),
            ("(.)", 1),
            ("[(.), (.)]", 3),
            (".a == 1 and .b", 3),
            ("\"((( [ | # \\\" \"", 1),
            ("\"a \\(.b | .c) | \"", 3),
            (". # ((((\n| .", 1),
            ("{a: 1, b: 2, c: (1 + 2), d: 4}", 3),
        ] {
            assert_eq!(of(code), depth, "{code}");
        }
        assert!(of(&". as $x | ".repeat(1000)) >= 2000);
        assert!(of("if . then ".repeat(1000).as_str()) >= 1000);
    }

    #[test]
    fn a_table_is_as_deep_as_its_deepest_row() {
        let rows: Vec<_> = (0..5000).map(|n| format!("\"k{n}\": (1 + {n})")).collect();
        assert!(of(&format!("{{{}}}", rows.join(", "))) < 10);
    }

    #[test]
    fn no_text_is_too_odd_for_it() {
        for code in ["", ")", "]]", "\"", "\\", "\"\\", "{,", "#", "ä(ö", "}{,}"] {
            let _ = of(code);
        }
    }
}
