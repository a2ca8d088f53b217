use pugmark_engine::*; use pugmark_graph::*; use std::time::Instant;
fn main(){ let a: Architecture=std::env::args().nth(1).unwrap().parse().unwrap(); let n:usize=std::env::args().nth(2).unwrap().parse().unwrap(); let g=a.graph(1000); let t=g.initialise(0); let e=Cpu::new(2).unwrap(); println!("{}",e.name());
let i=InputSpec{batch:n,height:224,width:224,mean:[0.5;3],std:[0.25;3]};
let px: Vec<u8>=(0..n*224*224*3).map(|i|(i*7919%251) as u8).collect(); let l:Vec<u32>=(0..n as u32).collect();
let mut p=e.training(&g,&t,&i,&TrainingSpec{freeze:Freeze::None,loss:Loss::default(),optimiser:Optimiser::AdamW,taps:vec![]}).unwrap();
for _ in 0..4 { let s=Instant::now(); p.step(&TrainBatch{pixels:&px,labels:&l,seed:0},1e-3,0.01).unwrap(); println!("train {:.1} img/s", n as f64/s.elapsed().as_secs_f64()); }
drop(p);
let mut p=e.inference(&g,&t,&i,&[]).unwrap();
for _ in 0..4 { let s=Instant::now(); p.logits(n,&px).unwrap(); println!("infer {:.1} img/s", n as f64/s.elapsed().as_secs_f64()); }
println!("{}", std::fs::read_to_string("/proc/self/status").unwrap().lines().find(|l|l.starts_with("VmHWM")).unwrap());
}
