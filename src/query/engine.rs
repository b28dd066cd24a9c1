//! Compiling and running one expression: what of jq there is, and where a mistake in it lies.
//!
//! Left out of jq's library: `env` and `$ENV` (an event must not be able to carry a secret away because somebody
//! published with a filter), `input` and `inputs` (stdin is the events' own), modules (files), and `halt`, `debug` and
//! `stderr` (only `output` ends or talks). Each is refused when the expression is compiled.

use std::cell::Cell;

use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::native::{bome, v};
use jaq_core::{Compiler, Ctx, DataT, Lut, Vars, compile, data::HasLut};
use jaq_json::Val;

use super::runner::STACK;
use super::{depth, value};
use crate::event::Headers;
use crate::outcome::Failure;

/// What an expression is evaluated over: its value, and the event that `header("x")` looks into.
struct Scope;

impl DataT for Scope {
    type V<'a> = Val;
    type Data<'a> = Scene<'a>;
}

#[derive(Clone, Copy)]
struct Scene<'a> {
    lut: &'a Lut<Scope>,
    headers: Headers<'a>,
    deepest: usize,
}

impl<'a> HasLut<'a, Scope> for Scene<'a> {
    /// Asked for at every step of an evaluation, so this is where a recursion without end is seen: the stack that
    /// overflows would take the whole process with it.
    fn lut(&self) -> &'a Lut<Scope> {
        if depth() < self.deepest {
            // Not `panic!`, which prints.
            std::panic::resume_unwind(Box::new(TooDeep));
        }
        self.lut
    }
}

/// What an evaluation that recursed too deep unwinds with.
pub(super) struct TooDeep;

thread_local! {
    /// The address the stack of this thread may grow down to; 0 where nobody said.
    static DEEPEST: Cell<usize> = const { Cell::new(0) };
}

/// Evaluations on this thread may use so many bytes of stack from here on; beyond that they unwind with [`TooDeep`].
pub(super) fn allow_stack(bytes: usize) {
    DEEPEST.set(depth().saturating_sub(bytes));
}

/// Where the stack is; it grows downwards wherever evcat runs.
fn depth() -> usize {
    let here = 0_u8;
    std::hint::black_box(&raw const here) as usize
}

type Native = jaq_core::native::Fun<Scope>;

const LEFT_OUT: &[&str] = &["env", "halt", "halt_error", "debug", "debug_empty", "stderr", "stderr_empty"];

fn natives() -> impl Iterator<Item = Native> {
    let ours: [jaq_core::native::Filter<jaq_core::RunPtr<Scope>>; 3] = [
        // The engine's own has no bound on depth, and what it parses comes from an event.
        ("fromjson", v(0), |cv| bome(value::from_json(&cv.1))),
        ("header", v(1), |mut cv| {
            let name = cv.0.pop_var();
            let headers = cv.0.data().headers;
            bome(value::header_name(&name).map(|name| {
                let last = headers.iter().filter(|(n, _)| *n == name).last();
                last.map_or(Val::Null, |(_, value)| value::header(value))
            }))
        }),
        ("headers", v(1), |mut cv| {
            let name = cv.0.pop_var();
            let headers = cv.0.data().headers;
            bome(value::header_name(&name).map(|name| {
                headers.iter().filter(|(n, _)| *n == name).map(|(_, value)| value::header(value)).collect()
            }))
        }),
    ];
    let theirs = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let ours = ours.into_iter().map(|native| jaq_core::native::run::<Scope>(native));
    theirs.filter(|(name, ..)| *name != "fromjson" && !LEFT_OUT.contains(name)).chain(ours)
}

/// One compiled expression.
pub(super) struct Engine(jaq_core::Filter<Scope>);

impl Engine {
    /// Compiles an expression. An error names the flag and points at the place, or says that it is too deep to be taken.
    pub fn compile(flag: &str, code: &str) -> Result<Engine, Failure> {
        let deep = depth::of(code);
        if deep > depth::DEEPEST {
            let most = depth::DEEPEST;
            let refusal = format!("{flag}: the expression is {deep} levels deep, at most {most} are taken");
            return Err(Failure::usage(refusal).hint(
                "many values beside each other do not count in an object: {\"a\": 1, \"b\": 2}[.key]",
            ));
        }
        // On a stack that has room for that, whoever asks: what is not used of it is never taken from the machine.
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("jq-compile".into()).stack_size(STACK);
            let compiling = thread.spawn_scoped(scope, || Engine::compile_here(flag, code));
            let compiling =
                compiling.map_err(|error| Failure::failed(format!("{flag}: no thread: {error}")))?;
            compiling
                .join()
                .unwrap_or_else(|_| Err(Failure::failed(format!("{flag}: the compiler broke off"))))
        })
    }

    fn compile_here(flag: &str, code: &str) -> Result<Engine, Failure> {
        let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let loader = Loader::new(defs.filter(|def| !LEFT_OUT.contains(&def.name)));
        let arena = Arena::default();
        let program = File { code, path: () };
        let modules = loader.load(&arena, program).map_err(|errors| {
            let first = errors.into_iter().next().and_then(|(_, error)| match error {
                load::Error::Io(found) => found.first().map(|(at, _)| (*at, Mistake::Module)),
                load::Error::Lex(found) => {
                    found.first().map(|(what, at)| (*at, Mistake::Expected(what.as_str())))
                }
                load::Error::Parse(found) => {
                    found.first().map(|(what, at)| (*at, Mistake::Expected(what.as_str())))
                }
            });
            mistake(flag, code, first)
        })?;
        let compiled = Compiler::default().with_funs(natives()).compile(modules).map_err(|errors| {
            let first = errors.into_iter().flat_map(|(_, undefined)| undefined).next();
            mistake(flag, code, first.map(|(name, what)| (name, Mistake::Undefined(what))))
        })?;
        Ok(Engine(compiled))
    }

    /// The results over one value; the text of an error ends them.
    pub fn run<'a>(
        &'a self,
        headers: Headers<'a>,
        value: Val,
    ) -> impl Iterator<Item = Result<Val, String>> + 'a {
        let ctx =
            Ctx::<Scope>::new(Scene { lut: &self.0.lut, headers, deepest: DEEPEST.get() }, Vars::new([]));
        self.0.id.run((ctx, value)).map(|result| {
            result.map_err(|exception| match exception.get_err() {
                Ok(error) => shorten(&error.to_string()),
                Err(_) => "it broke off".into(),
            })
        })
    }
}

/// An error quotes the value it failed on, which may be a payload of megabytes.
fn shorten(text: &str) -> String {
    const MOST: usize = 200;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.into(),
    }
}

enum Mistake<'a> {
    Module,
    Expected(&'a str),
    Undefined(compile::Undefined),
}

fn mistake(flag: &str, code: &str, found: Option<(&str, Mistake<'_>)>) -> Failure {
    let (at, what) = found.unwrap_or(("", Mistake::Expected("term")));
    // The part is a slice of the expression; an empty one is its end, wherever it points.
    let offset = (at.as_ptr() as usize).checked_sub(code.as_ptr() as usize);
    let offset = offset.filter(|offset| *offset < code.len() && !at.is_empty()).unwrap_or(code.len());
    let found = at.split_whitespace().next().unwrap_or_default();
    let message = match what {
        Mistake::Module => format!("modules cannot be loaded: '{found}'"),
        Mistake::Expected(expected) if found.is_empty() => {
            format!("the expression ends where a {expected} should be")
        }
        Mistake::Expected("nothing") => format!("'{}' is too much", shorten(found)),
        Mistake::Expected(expected) => format!("'{}' stands where a {expected} should be", shorten(found)),
        Mistake::Undefined(compile::Undefined::Filter(arity))
            if LEFT_OUT.contains(&found) || is_input(found) =>
        {
            format!("{found}/{arity} is not available in evcat")
        }
        Mistake::Undefined(compile::Undefined::Filter(arity)) => {
            format!("there is no filter {found}/{arity}")
        }
        Mistake::Undefined(_) if found == "$ENV" => "$ENV is not available in evcat".into(),
        Mistake::Undefined(other) => format!("there is no {} {found}", other.as_str()),
    };
    let start = code[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    let line = code[start..].lines().next().unwrap_or_default();
    let column = unicode_width::UnicodeWidthStr::width(&code[start..offset]);
    Failure::usage(format!("{flag}: {message}\n  {line}\n  {:column$}^", ""))
        .hint("what jq sees, with examples: evcat help filters")
}

fn is_input(name: &str) -> bool {
    ["input", "inputs", "input_filename", "input_line_number"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{HeaderValue, HeadersBuf};

    fn message(code: &str) -> String {
        Engine::compile("--where", code).err().map(|failure| failure.message).unwrap_or_default()
    }

    #[test]
    fn a_mistake_is_pointed_at() {
        assert_eq!(
            message(".payload.amount > "),
            "--where: the expression ends where a term should be\n  .payload.amount > \n                    ^"
        );
        assert_eq!(message(".key |\n  nosuch(1)").lines().nth(2), Some("    ^"));
        assert!(message("nosuch(1)").contains("there is no filter nosuch/1"));
        assert!(message(".a | ]").contains("']'"), "{}", message(".a | ]"));
        assert!(message("(.a").contains("closing parenthesis"), "{}", message("(.a"));
        assert!(message("").contains("the expression ends"));
    }

    #[test]
    fn what_reaches_outside_is_refused() {
        for code in
            ["env", "$ENV", "$ENV.HOME", "input", "[inputs]", "halt", "debug", "stderr", "halt_error(1)"]
        {
            assert!(message(code).contains("not available in evcat"), "{code}: {}", message(code));
        }
        assert!(message("import \"a\" as a; .").contains("modules"));
    }

    /// The builtins of jq 1.6 (`jq -n builtins`) with those that its manual has for 1.7 and 1.8, and the formats.
    const OF_JQ: &str = "\
        @base32/0 @base32d/0 @base64/0 @base64d/0 @csv/0 @html/0 @json/0 @sh/0 @text/0 @tsv/0 @uri/0 \
        @urid/0 IN/1 IN/2 INDEX/1 INDEX/2 JOIN/2 JOIN/3 JOIN/4 abs/0 acos/0 acosh/0 add/0 add/1 all/0 \
        all/1 all/2 any/0 any/1 any/2 arrays/0 ascii/0 ascii_downcase/0 ascii_upcase/0 asin/0 asinh/0 \
        atan/0 atan2/2 atanh/0 booleans/0 bsearch/1 builtins/0 capture/1 capture/2 cbrt/0 ceil/0 \
        combinations/0 combinations/1 contains/1 copysign/2 cos/0 cosh/0 date/0 dateadd/2 dateiso8601/0 \
        datesub/2 debug/0 debug/1 del/1 delpaths/1 drem/2 empty/0 endswith/1 env/0 erf/0 erfc/0 error/0 \
        error/1 exp/0 exp10/0 exp2/0 explode/0 expm1/0 fabs/0 fdim/2 finites/0 first/0 first/1 flatten/0 \
        flatten/1 floor/0 fma/3 fmax/2 fmin/2 fmod/2 format/1 frexp/0 from_entries/0 fromdate/0 \
        fromdateiso8601/0 fromjson/0 fromstream/1 gamma/0 get_jq_origin/0 get_prog_origin/0 \
        get_search_list/0 getpath/1 gmtime/0 group_by/1 gsub/2 gsub/3 halt/0 halt_error/0 halt_error/1 \
        has/1 have_decnum/0 have_literal_numbers/0 hypot/2 implode/0 in/1 index/1 indices/1 infinite/0 \
        input/0 input_filename/0 input_line_number/0 inputs/0 inside/1 isempty/1 isfinite/0 isinfinite/0 \
        isnan/0 isnormal/0 isvalid/1 iterables/0 j0/0 j1/0 jn/2 join/1 keys/0 keys_unsorted/0 last/0 \
        last/1 ldexp/2 leaf_paths/0 length/0 lgamma/0 lgamma_r/0 limit/2 localtime/0 log/0 log10/0 \
        log1p/0 log2/0 logb/0 ltrim/0 ltrimstr/1 map/1 map_values/1 match/1 match/2 max/0 max_by/1 min/0 \
        min_by/1 mktime/0 modf/0 modulemeta/0 nan/0 nearbyint/0 nextafter/2 nexttoward/2 normals/0 not/0 \
        now/0 nth/1 nth/2 nulls/0 numbers/0 objects/0 path/1 paths/0 paths/1 pick/1 pow/2 pow10/0 \
        range/1 range/2 range/3 recurse/0 recurse/1 recurse/2 recurse_down/0 remainder/2 repeat/1 \
        reverse/0 rindex/1 rint/0 round/0 rtrim/0 rtrimstr/1 scalars/0 scalars_or_empty/0 scalb/2 \
        scalbln/2 scan/1 scan/2 select/1 setpath/2 significand/0 sin/0 sinh/0 skip/2 sort/0 sort_by/1 \
        split/1 split/2 splits/1 splits/2 sqrt/0 startswith/1 stderr/0 strflocaltime/1 strftime/1 \
        strings/0 strptime/1 sub/2 sub/3 tan/0 tanh/0 test/1 test/2 tgamma/0 to_entries/0 toarray/0 \
        toboolean/0 todate/0 todateiso8601/0 tojson/0 tonumber/0 tostream/0 tostring/0 transpose/0 \
        trim/0 trimstr/1 trunc/0 truncate_stream/1 type/0 unique/0 unique_by/1 until/2 utf8bytelength/0 \
        values/0 walk/1 while/2 with_entries/1 y0/0 y1/0 yn/2";

    #[test]
    fn what_jq_has_and_this_has_not_is_told() {
        let (_, page) = include_str!("../commands/help/filters.txt").split_once("JQ HERE").unwrap();
        // The reasons are indented further.
        let lists = page.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
        let told: Vec<&str> = lists.flat_map(str::split_whitespace).collect();
        for builtin in OF_JQ.split_whitespace() {
            let (name, arity) = builtin.split_once('/').unwrap();
            let code = match arity.parse().unwrap() {
                0 => name.to_owned(),
                arity => format!("{name}({})", vec!["."; arity].join(";")),
            };
            assert_eq!(message(&code).is_empty(), !told.contains(&name), "{builtin}: {}", message(&code));
        }
        for (word, code) in [
            ("$ENV", "$ENV.HOME"),
            ("import", "import \"a\" as a; ."),
            ("include", "include \"a\"; ."),
            ("$__loc__", "$__loc__"),
            ("$__prog_args", "$__prog_args"),
            ("?//", ". as [$a] ?// $a | $a"),
        ] {
            assert!(told.contains(&word) && !message(code).is_empty(), "{word}");
        }
    }

    #[test]
    fn headers_are_seen_from_everywhere_in_an_expression() {
        let mut headers = HeadersBuf::default();
        headers.push_str("a", "1");
        headers.push(b"a", HeaderValue::Bytes(b"2"));
        headers.push(b"n", HeaderValue::Null);
        headers.push(b"b", HeaderValue::Bytes(b"\xff"));
        let run = |code: &str| {
            let engine = Engine::compile("--where", code).unwrap();
            let results: Vec<_> = engine.run(headers.as_headers(), Val::from(true)).collect();
            results.iter().map(|r| r.as_ref().map_or_else(Clone::clone, Val::to_string)).collect::<Vec<_>>()
        };
        assert_eq!(run("[1] | .[] | header(\"a\")"), ["\"2\""]);
        assert_eq!(run("headers(\"a\")"), ["[\"1\",\"2\"]"]);
        assert_eq!(run("header(\"n\"), header(\"none\"), headers(\"none\")"), ["null", "null", "[]"]);
        assert_eq!(run("header(\"b\")"), ["{\"base64\":\"/w==\"}"]);
        assert!(run("header(1)")[0].contains("string"), "{:?}", run("header(1)"));
    }
}
