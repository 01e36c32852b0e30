//! Tries the mutants that cargo-mutants lists. Builds all of them at once, each behind a switch, where cargo-mutants builds one after
//! the other.

#![expect(clippy::disallowed_methods, reason = "the rules of clippy.toml are for the service")]

mod cargo;
mod mutant;
mod report;
mod switches;
mod trial;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    error::Error,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    cargo::{Built, Refusal, build},
    mutant::Mutant,
    switches::switch,
    trial::{Record, Tests, Verdict},
};

/// The files as they are, by their path in the package.
type Sources = BTreeMap<String, String>;
type Places = BTreeMap<String, Vec<(Range<usize>, usize)>>;

/// At least; or five times as long as without a mutant.
const TIMEOUT: Duration = Duration::from_mins(1);

const USAGE: &str =
    "usage: mutants try PACKAGE LIST.json OUTCOMES [ARGUMENTS OF CARGO TEST…] [-- ARGUMENTS OF THE TESTS…]
       mutants survivors LIST.json OUTCOMES
       mutants table OUTCOMES";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["try", package, list, outcomes, ref rest @ ..] => {
            let mut parts = rest.splitn(2, |argument| *argument == "--");
            let [for_cargo, for_tests] = [(); 2].map(|()| parts.next().unwrap_or_default());
            try_mutants(Path::new(package), &Mutant::load(list)?, Path::new(outcomes), for_cargo, for_tests)
        }
        ["survivors", list, outcomes] => {
            let survived = report::survivors(&fs::read_to_string(outcomes)?);
            let survivors: Vec<_> =
                Mutant::load(list)?.into_iter().filter(|mutant| survived.contains(&mutant.name)).collect();
            println!("{}", serde_json::to_string(&survivors)?);
            Ok(())
        }
        ["table", outcomes] => {
            print!("{}", report::table(&fs::read_to_string(outcomes)?));
            Ok(())
        }
        _ => Err(USAGE.into()),
    }
}

fn try_mutants(
    package: &Path,
    mutants: &[Mutant],
    outcomes: &Path,
    for_cargo: &[&str],
    for_tests: &[&str],
) -> Result<(), Box<dyn Error>> {
    let mut sources = Sources::new();
    for mutant in mutants {
        if !sources.contains_key(&mutant.file) {
            sources.insert(mutant.file.clone(), fs::read_to_string(package.join(&mutant.file))?);
        }
    }

    let mut alone = BTreeSet::new();
    let binary = build_switched(package, for_cargo, mutants, &sources, &mut alone)?;
    eprintln!("{} mutants, of which {} have to be built alone", mutants.len(), alone.len());
    let tests = |binary, timeout| Tests { package, binary, arguments: for_tests, timeout };
    let start = Instant::now();
    if tests(binary.clone(), Duration::MAX).run(&[], None)? != Verdict::Missed {
        return Err("the tests fail without any mutant".into());
    }
    let timeout = TIMEOUT.max(start.elapsed() * 5);
    let switched: Vec<usize> = (0..mutants.len()).filter(|id| !alone.contains(id)).collect();
    let record = Record::create(outcomes)?;
    tests(binary, timeout).try_all(mutants, &switched, &record)?;

    for (file, source) in &sources {
        fs::write(package.join(file), source)?;
    }
    for id in alone {
        let mutant = &mutants[id];
        let (path, source) = (package.join(&mutant.file), &sources[&mutant.file]);
        fs::write(&path, mutant.apply(source))?;
        let verdict = match build(package, for_cargo)? {
            Built::Test(binary) => tests(binary, timeout).try_one(mutant, None)?,
            Built::Refused(_) => Verdict::Unviable,
        };
        fs::write(&path, source)?;
        record.add(verdict, mutant)?;
    }
    Ok(())
}

/// Switches what the compiler lets be switched; what it does not, is to be built alone.
fn build_switched(
    package: &Path,
    arguments: &[&str],
    mutants: &[Mutant],
    sources: &Sources,
    alone: &mut BTreeSet<usize>,
) -> Result<PathBuf, Box<dyn Error>> {
    let mut keep_const = BTreeSet::new();
    loop {
        let mut places = Places::new();
        for (file, source) in sources {
            let of_file = mutants.iter().enumerate().filter(|(id, mutant)| mutant.file == *file && !alone.contains(id));
            let with_switches = switch(source, &of_file.collect::<Vec<_>>(), &keep_const)?;
            fs::write(package.join(file), with_switches.text)?;
            places.insert(file.clone(), with_switches.places);
        }
        let refusals = match build(package, arguments)? {
            Built::Test(test) => {
                let switched: BTreeSet<usize> = places.values().flatten().map(|(_, id)| *id).collect();
                alone.extend((0..mutants.len()).filter(|id| !switched.contains(id)));
                return Ok(test);
            }
            Built::Refused(refusals) => refusals,
        };
        let before = (alone.len(), keep_const.len());
        for refusal in &refusals {
            match guilty(refusal, &places) {
                Some(id) => _ = alone.insert(id),
                None => keep_const.extend(refusal.not_const().map(str::to_owned)),
            }
        }
        if before == (alone.len(), keep_const.len()) {
            let rendered: Vec<_> = refusals.iter().filter_map(|refusal| refusal.rendered.as_deref()).collect();
            eprintln!("{}", rendered.concat());
            return Err("the compiler refuses what is in no mutant".into());
        }
    }
}

fn guilty(refusal: &Refusal, places: &Places) -> Option<usize> {
    refusal.places().find_map(|place| {
        let mut in_file = places.get(&place.file_name)?.iter();
        in_file.find(|(range, _)| place.overlaps(range)).map(|(_, id)| *id)
    })
}
