use std::fs;

use serde_json::json;

use crate::{refusal, stdout};

/// As `nsys stats --report cuda_gpu_kern_sum --format csv` prints it.
const NSYS: &str = "\
Generating SQLite file run.sqlite from run.nsys-rep
Processing [run.sqlite] with [cuda_gpu_kern_sum.py]...

Time (%),Total Time (ns),Instances,Avg (ns),Med (ns),Min (ns),Max (ns),StdDev (ns),Name
80.0,4000000,4,1000000.0,1000000.0,990000,1010000,8000.0,matmul_fwd_bf16_t128
20.0,1000000,2,500000.0,500000.0,500000,500000,0.0,\"void ns::other<float, (int)2>(float *, int)\"
";

/// As `ncu --csv --page raw` prints it: a header, a row of units, a row for each launch.
const NCU: &str = "\
==PROF== Connected to process 1 (hrm)
\"ID\",\"Process ID\",\"Kernel Name\",\"Grid Size\",\"dram__bytes.sum\",\"gpu__time_duration.sum\",\"sm__inst_executed_pipe_tensor.sum\"
\"\",\"\",\"\",\"\",\"Mbyte\",\"usecond\",\"inst\"
\"0\",\"1\",\"add_fwd_bf16\",\"(1, 1, 1)\",\"504.0\",\"1,000.0\",\"0\"
\"1\",\"1\",\"add_fwd_bf16\",\"(1, 1, 1)\",\"504.0\",\"1,000.0\",\"0\"
\"2\",\"1\",\"attention_fwd_hd64_bf16\",\"(1, 1, 1)\",\"1.0\",\"100.0\",\"2,016,602\"
";

/// The cells of the row that starts with `name`.
fn row(table: &str, name: &str) -> Vec<String> {
    let line = table.lines().find(|l| l.split_whitespace().next() == Some(name));
    let line = line.unwrap_or_else(|| panic!("{name} is missing:\n{table}"));
    line.split_whitespace().skip(1).map(str::to_owned).collect()
}

#[test]
fn ncu_becomes_a_table_of_rates() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("ncu.csv"), NCU).unwrap();
    let table = stdout("profile/run", &["--table", "ncu.csv"], dir.path());
    // 1008 MB in 2 ms: half of 1008 GB/s.
    let add = row(&table, "add_fwd_bf16");
    assert_eq!(add, ["2", "2.000", "95.2", "504.0", "0.00", "50.0", "%"], "{table}");
    // 2,016,602 HMMA of 4096 flop in 100 us: 82.6 TFLOPS, half of 165.2.
    let attention = row(&table, "attention_fwd_hd64_bf16");
    assert_eq!(attention[4..], ["82.60", "50.0", "%"], "{table}");
    assert_eq!(row(&table, "all"), ["3", "2.100"], "{table}");
}

#[test]
fn nsys_takes_bytes_and_flops_from_a_plan() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("nsys.csv"), NSYS).unwrap();
    let plain = stdout("profile/run", &["--table", "nsys.csv"], dir.path());
    assert_eq!(row(&plain, "matmul_fwd_bf16_t128"), ["4", "4.000", "80.0"], "{plain}");
    assert_eq!(row(&plain, "ns::other"), ["2", "1.000", "20.0"], "{plain}");
    // Of one launch: 100 MB and 82.6 GFLOP in 1 ms.
    let plan = json!({ "predicted": { "kernels": [{ "kernel": "matmul_fwd_bf16_t128",
        "launches": 10, "bytes": 1e9, "matmul_flops": 826e9 }] } });
    fs::write(dir.path().join("plan"), plan.to_string()).unwrap();
    let table = stdout("profile/run", &["--table", "nsys.csv", "--plan", "plan"], dir.path());
    let matmul = row(&table, "matmul_fwd_bf16_t128");
    assert_eq!(matmul[3..], ["100.0", "82.60", "50.0", "%"], "{table}");
}

#[test]
fn what_is_missing_is_said() {
    let dir = tempfile::tempdir().unwrap();
    for (tool, what) in [("nsys", "Nsight Systems"), ("ncu", "Nsight Compute")] {
        let error = refusal("profile/run", &["--with", tool, "--", "true"], dir.path());
        assert!(error.contains(&format!("{tool} is not installed")), "{error}");
        assert!(error.contains(what) && error.contains("nothing was run"), "{error}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is written");
    fs::write(dir.path().join("x.csv"), "a,b\n1,2\n").unwrap();
    let error = refusal("profile/run", &["--table", "x.csv"], dir.path());
    assert!(error.contains("neither nsys's cuda_gpu_kern_sum nor ncu's raw page"), "{error}");
}
