SELECT filler FROM bench_rows;
