//! The cost of five million orders. `cargo test -p lab --release size -- --ignored --nocapture`

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::judge;
use crate::OrderId;
use crate::audit::Verdict;
use crate::audit::attempts::Ledger;
use crate::audit::decode::{self, Headers};
use crate::audit::evidence::{Evidence, Orders, Partition, Shipments};
use crate::audit::shown::Shown;
use crate::ledger::Run;

const ORDERS: u64 = 5_000_000;
const REGIONS: u64 = 3;
const BEGUN_MILLIS: u64 = 1_790_000_000_000;

fn id(order: u64) -> OrderId {
    OrderId::new(
        BEGUN_MILLIS + order / 100,
        (order % REGIONS) as u16,
        (order % 100) as u16,
    )
}

fn write_ledger(file: File) -> std::io::Result<()> {
    let mut file = BufWriter::new(file);
    let begun = BEGUN_MILLIS * 1000;
    writeln!(
        file,
        r#"{{"line":"run","at":{begun},"run":7,"gateway":"http://gateway"}}"#
    )?;
    for order in 0..ORDERS {
        let (at, partition, offset) = (begun + order * 10, order % REGIONS, order / REGIONS);
        let money = order % 1000;
        writeln!(
            file,
            r#"{{"line":"attempt","at":{at},"order":{order},"partition":{partition},"money":{money}}}"#
        )?;
        let (at, id) = (at + 5, id(order));
        writeln!(
            file,
            r#"{{"line":"answer","at":{at},"order":{order},"outcome":"acknowledged","order_id":"{id}","partition":{partition},"offset":{offset}}}"#
        )?;
        if order % 1000 == 0 {
            writeln!(file, r#"{{"line":"beat","at":{at},"due":{order},"sent":{order}}}"#)?;
        }
    }
    file.flush()
}

fn partition(number: u64) -> Partition {
    let orders = (number..ORDERS).step_by(REGIONS as usize);
    let records = orders.clone().map(|order| {
        let (id, money, user) = (id(order), order % 1000, Run(7).user_id(order));
        let value = format!(r#"{{"money":{money},"order_id":"{id}","time":1790000000,"user_id":"{user}"}}"#);
        decode::order(value.as_bytes(), Headers::default())
    });
    let outcomes = orders.enumerate().map(|(offset, order)| {
        let id = id(order);
        let value = format!(
            r#"{{"order_id":"{id}","order_offset":{offset},"outcome":"shipped","mark":"{order:032x}","duplicate_of":null,"detail":null,"packed_at":"2026-09-21T14:13:20.000Z","shipped_at":"2026-09-21T14:13:20.100Z"}}"#
        );
        decode::outcome(value.as_bytes(), offset as u32).0
    });
    let (records, outcomes): (Vec<_>, Vec<_>) = (records.collect(), outcomes.collect());
    let end = records.len() as i64;
    let orders = Orders {
        offsets: 0..end,
        records,
        ..Orders::default()
    };
    let shipments = Shipments {
        offsets: 0..end,
        outcomes,
        ..Shipments::default()
    };
    Partition::new(number as u16, orders, shipments)
}

/// The largest resident memory of this process so far, in MB.
fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok())
        .unwrap_or(0)
        / 1000
}

#[test]
#[ignore = "takes 600 MB and some seconds: in release, by hand"]
#[expect(clippy::print_stdout, reason = "it measures")]
fn size_of_five_million_orders() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ledger");
    write_ledger(File::create(&path).expect("a file")).expect("written");
    let began = Instant::now();
    let ledger = Ledger::read([path.as_path()], ORDERS, &CancellationToken::new()).expect("a ledger");
    println!(
        "ledger read in {:.1} s, peak {} MB",
        began.elapsed().as_secs_f64(),
        peak_megabytes()
    );
    let began = Instant::now();
    let partitions: Vec<Partition> = (0..REGIONS).map(partition).collect();
    println!(
        "records made and decoded in {:.1} s, peak {} MB",
        began.elapsed().as_secs_f64(),
        peak_megabytes()
    );
    let began = Instant::now();
    let report = judge(Evidence {
        partitions,
        spare: Vec::new(),
        ledger: Some(ledger),
        figures: Shown::default(),
    });
    println!(
        "judged in {:.1} s, peak {} MB",
        began.elapsed().as_secs_f64(),
        peak_megabytes()
    );
    println!("{}", report.render());
    assert_ne!(report.verdict, Verdict::Broken);
}
