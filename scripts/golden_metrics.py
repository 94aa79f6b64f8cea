"""Records what scikit-learn makes of predictions and targets: python3 scripts/golden_metrics.py > testdata/golden/metrics.json (scikit-learn 1.9.1)."""
import json
import warnings

warnings.simplefilter("ignore")
import numpy as np
from sklearn.metrics import accuracy_score,f1_score,top_k_accuracy_score,mean_absolute_error,mean_squared_error
rng=np.random.default_rng(7)
out=[]
def case(name,metric,sem,shape,pred,target,tshape,want,topk=0,ints=True):
    out.append(dict(name=name,metric=metric,semantics=sem,shape=shape,pred=[float(x) for x in pred.ravel()],target=[float(x) for x in target.ravel()],tshape=tshape,ints=ints,want=float(want),top_k=topk))
N,C=40,6
p=np.round(rng.random((N,C)),3); y=rng.integers(0,4,N)       # classes 4 and 5 are absent from the truth
p[:,5]=0                                                       # and 5 is never predicted
case("accuracy","accuracy","pytorch",[C],p,y,[N],accuracy_score(y,p.argmax(1)))
case("F1, absent classes","f1","keras",[C],p,y,[N],f1_score(y,p.argmax(1),average="macro"))
for k in (1,3,6): case(f"top {k}","top_k_accuracy","keras",[C],p,y,[N],top_k_accuracy_score(y,p,k=k,labels=range(C)),k)
b=np.round(rng.random((N,1)),3); z=rng.integers(0,2,(N,1))
case("binary F1","f1","pytorch",[1],b,z,[N,1],f1_score(z,b>.5))
case("binary accuracy of [N,1] and [N]","accuracy","pytorch",[1],b,z,[N],accuracy_score(z,b>.5))
m=np.round(rng.random((N,C)),3); mt=rng.integers(0,2,(N,C))
case("multi-label","binary_accuracy","keras",[C],m,mt,[N,C],accuracy_score(mt.ravel(),m.ravel()>.5))
s=np.round(rng.random((8,3,2,4)),3); st=rng.integers(0,3,(8,2,4))
case("segmentation accuracy","accuracy","pytorch",[3,2,4],s,st,[8,2,4],accuracy_score(st.ravel(),s.argmax(1).ravel()))
case("segmentation F1","f1","pytorch",[3,2,4],s,st,[8,2,4],f1_score(st.ravel(),s.argmax(1).ravel(),average="macro"))
hot=np.moveaxis(np.eye(3)[st],-1,1)
case("segmentation, one-hot","accuracy","pytorch",[3,2,4],s,hot,[8,3,2,4],accuracy_score(st.ravel(),s.argmax(1).ravel()),ints=False)
q=np.round(rng.random((8,5,3)),3); qt=rng.integers(0,3,(8,5))
case("sequence accuracy","accuracy","keras",[5,3],q,qt,[8,5],accuracy_score(qt.ravel(),q.argmax(2).ravel()))
case("sequence top 2","top_k_accuracy","keras",[5,3],q,qt,[8,5],top_k_accuracy_score(qt.ravel(),q.reshape(-1,3),k=2,labels=range(3)),2)
g=np.round(rng.random((8,1,2,3)),3); gt=rng.integers(0,2,(8,2,3))
case("binary segmentation","accuracy","pytorch",[1,2,3],g,gt,[8,2,3],accuracy_score(gt.ravel(),g.ravel()>.5))
case("binary segmentation F1","f1","pytorch",[1,2,3],g,gt,[8,2,3],f1_score(gt.ravel(),g.ravel()>.5))
r=np.round(rng.normal(size=(8,5)),3); rt=np.round(rng.normal(size=(8,5)),3)
case("MAE","mean_absolute_error","keras",[5],r,rt,[8,5],mean_absolute_error(rt,r),ints=False)
case("MSE","mean_squared_error","keras",[5],r,rt,[8,5],mean_squared_error(rt,r),ints=False)
print(json.dumps(out))
