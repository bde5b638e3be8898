import time
from tests.landing.shop import *
import pytest
def T(label, f, *a):
    t=time.time()
    try:
        r=f(*a)
    except Exception as e:
        print(label, round(time.time()-t,2), 'FAILED', type(e), str(e)[:600]); return
    print(label, round(time.time()-t,2)); return r
def test_try(warm_engine, tmp_path):
    home=tmp_path
    s=Shop(home,warm_engine)
    a=line('1','ann','A','01 09:00'); b=line('1','ann','B','01 09:00')
    s.deliver(1,[a,b]); s.deliver(2,[line('2','bob','A','02 09:00'),a])
    T('ingest',s.ingest,1); T('validate',s.validate,1); T('validate again',s.validate,1)
    print(s.kept())
    T('l2',s.land,2); T('l2',s.land,2); print(s.kept(), s.counts())
    s.deliver(1,[b]); T('corrected',s.land,1); print(s.kept(), s.counts())
    s.deliver(1,[a,b]); T('back',s.land,1); print(s.kept(), s.counts())
    T('empty day', s.land,3)
    print(s.counts(), s.lake.run_dates('events'))
@pytest.mark.parametrize('folder',['plain','a b','ü ö','x=1','a+b(c)'])
def test_folders(warm_engine,tmp_path,folder):
    home=tmp_path/folder; home.mkdir()
    s=Shop(home,warm_engine)
    a=line('1','ann','A','01 09:00'); b=line('1','ann','B','01 09:00')
    s.deliver(1,[a,b]); s.deliver(2,[line('2','bob','A','02 09:00'),a])
    T(folder,s.land,1);T(folder,s.land,2)
    print(s.kept())
