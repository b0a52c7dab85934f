"""The equivalence certificate of this machine: how far every backend is from the definitions, measured.

from mlpx.certify import certify
certificate = certify()
certificate.passed, certificate.table(), certificate.to_dict()
"""

from mlpx.certify.certification import certify as certify
from mlpx.certify.comparison import Comparison as Comparison
from mlpx.certify.comparison import compare as compare
from mlpx.certify.record import Absent as Absent
from mlpx.certify.record import Certificate as Certificate
from mlpx.certify.record import Check as Check
from mlpx.certify.record import DeviceRecord as DeviceRecord
from mlpx.certify.record import read as read
from mlpx.certify.record import write as write
