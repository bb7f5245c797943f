import sys; sys.path.insert(0,"/work/main/tests/flows")
from test_ingest_csv import *
from test_ingest_csv import _numbers
def test_t(stack,dataset):
    import time
    for n in range(261): stack.put(f"landing/{dataset}/{n}.csv", HEAD+f"1,{n},1\n")
    stack.lose_events()
    for i in range(4):
        t=time.time(); c=time.process_time(); r=ingest_csv(dataset); print("RUN",i,round(time.time()-t,2),"cpu",round(time.process_time()-c,2),r.newly_loaded)
